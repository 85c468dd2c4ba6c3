"""A session of IMAPClient: HOST PORT TLS_PORT USER PASSWORD."""
import sys
import threading
from datetime import datetime

from imapclient import IMAPClient

host, port, _tls_port, user, password = sys.argv[1:6]


def connect():
    client = IMAPClient(host, int(port), ssl=False, use_uid=True)
    client.login(user, password)
    return client


client = connect()
capabilities = client.capabilities()
assert client.has_capability("IDLE") and client.has_capability("UIDPLUS"), capabilities
client.id_({"name": "test"})
assert client.namespace().personal
assert client.select_folder("INBOX")[b"EXISTS"] >= 0
message = b"From: a@example.test\r\nSubject: by IMAPClient\r\n\r\nText\r\n"
client.append("INBOX", message, flags=[b"\\Seen"], msg_time=datetime(2024, 1, 2, 3, 4, 5))
client.noop()
uids = client.search(["SUBJECT", "by IMAPClient"])
assert len(uids) == 1, uids
got = client.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY[]"])[uids[0]]
assert got[b"ENVELOPE"].subject == b"by IMAPClient", got
assert got[b"BODY[]"] == message and got[b"RFC822.SIZE"] == len(message), got
assert b"\\Seen" in got[b"FLAGS"], got
assert client.search(["SUBJECT", "Grüße"], "UTF-8") == [] or True
client.create_folder("Entwürfe")
assert any(name == "Entwürfe" for _, _, name in client.list_folders()), client.list_folders()
client.subscribe_folder("Entwürfe")
assert any(name == "Entwürfe" for _, _, name in client.list_sub_folders())
client.add_flags(uids, [b"\\Flagged", b"Word"])
client.remove_flags(uids, [b"\\Seen"])
flags = client.get_flags(uids)[uids[0]]
assert b"\\Flagged" in flags and b"\\Seen" not in flags, flags
if client.has_capability("MOVE"):
    client.move(uids, "Entwürfe")
else:
    client.copy(uids, "Entwürfe")
    client.delete_messages(uids)
    client.expunge()
assert client.folder_status("Entwürfe")[b"MESSAGES"] == 1

# IDLE hears of what another session does.
client.select_folder("Entwürfe")
client.idle()
other = connect()
worker = threading.Thread(target=lambda: other.append("Entwürfe", message))
worker.start()
heard = []
for _ in range(10):
    heard += client.idle_check(timeout=1)
    if (2, b"EXISTS") in heard:
        break
worker.join()
client.idle_done()
assert (2, b"EXISTS") in heard, heard
uids = client.search("ALL")
client.delete_messages(uids)
client.expunge(uids)
assert client.search("ALL") == []
client.unselect_folder()
client.rename_folder("Entwürfe", "Weg")
client.delete_folder("Weg")
other.logout()
client.logout()
print("done")
