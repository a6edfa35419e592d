/*
 * A validator of OAuth tokens for PostgreSQL 18, for tests. It verifies nothing itself: it
 * sends the token to the test, which knows the emulator's keys, and takes its word for whose
 * token it is. The test listens on the loopback port in the file "validator.port" of the
 * data directory. Request: the token and a line feed. Response: an identity, or nothing for
 * a token that is refused, and a line feed.
 *
 * Server packages do not always come with the server's headers. The few declarations that
 * a module needs are below, from the documentation of modules and of OAuth validators
 * (https://www.postgresql.org/docs/18/oauth-validators.html). A server of another version or
 * another layout refuses the module by its magic block when it loads it.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char *pstrdup(const char *text); /* the server's: it frees what it gets */

/* The magic block: for which server this is built. */
typedef struct {
	int len;
	struct {
		int version, func_max_args, index_max_keys, name_data_len, float8_by_value;
		char extra[32];
	} abi;
	const char *name, *version;
} magic_block;

const magic_block *Pg_magic_func(void);

const magic_block *
Pg_magic_func(void)
{
	static const magic_block magic = {
		.len = sizeof(magic_block),
		.abi = {180000 / 100, 100, 32, 64, true, "PostgreSQL"},
	};
	return &magic;
}

/* The interface of validators. */
typedef struct {
	int server_version;
	void *private_data;
} validator_state;

typedef struct {
	bool authorized;
	char *authn_id; /* who it is */
} validator_result;

typedef struct {
	uint32_t magic;
	void (*startup)(validator_state *);
	void (*shutdown)(validator_state *);
	bool (*validate)(const validator_state *, const char *token, const char *role, validator_result *);
} validator_callbacks;

const validator_callbacks *_PG_oauth_validator_module_init(void);

/* dial connects to the test. It returns -1 if that fails. */
static int
dial(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int port = 0;
	FILE *file = fopen("validator.port", "r"); /* servers run in their data directory */

	if (file == NULL)
		return -1;
	if (fscanf(file, "%d", &port) != 1)
		port = 0;
	fclose(file);
	addr.sin_port = htons((uint16_t) port);

	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *) &addr, sizeof addr) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* validate returns false if it cannot tell. The server then refuses the token. */
static bool
validate(const validator_state *state, const char *token, const char *role, validator_result *result)
{
	char identity[256];
	int fd = dial();

	(void) state;
	(void) role; /* the server compares it to the identity */
	result->authorized = false;
	if (fd < 0)
		return false;
	FILE *test = fdopen(fd, "r+");
	bool ok = test != NULL && fprintf(test, "%s\n", token) > 0 && fflush(test) == 0 && fgets(identity, sizeof identity, test) != NULL;
	if (test != NULL)
		fclose(test);
	if (!ok)
		return false;
	identity[strcspn(identity, "\n")] = '\0';
	if (identity[0] != '\0') {
		result->authorized = true;
		result->authn_id = pstrdup(identity);
	}
	return true;
}

const validator_callbacks *
_PG_oauth_validator_module_init(void)
{
	static const validator_callbacks callbacks = {.magic = 0x20250220, .validate = validate};
	return &callbacks;
}
