module github.com/aadpostgres/aadpostgres/driver/integration

go 1.25.0
