// Signs in with a token of @azure/identity as pg's password, and prints the role. The
// argument names the credential.
import { DefaultAzureCredential, InteractiveBrowserCredential } from "@azure/identity";
import pg from "pg";

const credential = process.argv[2] === "browser" ? new InteractiveBrowserCredential({}) : new DefaultAzureCredential();
const { token } = await credential.getToken("https://ossrdbms-aad.database.windows.net/.default");
const client = new pg.Client({ password: token });
await client.connect();
const { rows } = await client.query("select session_user as role");
console.log(rows[0].role);
await client.end();
