"""Signs in with a token of azure-identity as the password of psycopg or psycopg2, and
prints the role. The argument names the credential."""
import sys

from azure.identity import DefaultAzureCredential, InteractiveBrowserCredential

try:
    from psycopg import connect
except ImportError:
    from psycopg2 import connect

credential = InteractiveBrowserCredential() if sys.argv[1] == "browser" else DefaultAzureCredential()
token = credential.get_token("https://ossrdbms-aad.database.windows.net/.default").token
connection = connect(password=token)
cursor = connection.cursor()
cursor.execute("select session_user")
print(cursor.fetchone()[0])
connection.close()
