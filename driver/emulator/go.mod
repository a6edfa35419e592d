module github.com/aadpostgres/aadpostgres/driver/emulator

go 1.25.0
