// Signs in with a pool of pg whose password comes from @azure/postgresql-auth, and prints
// the role. The argument names the credential.
import { DefaultAzureCredential, InteractiveBrowserCredential } from "@azure/identity";
import { entraTokenProvider } from "@azure/postgresql-auth";
import pg from "pg";

const credential = process.argv[2] === "browser" ? new InteractiveBrowserCredential({}) : new DefaultAzureCredential();
const pool = new pg.Pool({ password: entraTokenProvider(credential) });
const roles = await Promise.all([1, 2, 3].map(() => pool.query("select session_user as role, pg_sleep(0.1)")));
console.log([...new Set(roles.map(({ rows }) => rows[0].role))].join());
await pool.end();
