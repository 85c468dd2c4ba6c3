"""A session of Python's imaplib: HOST PORT TLS_PORT USER PASSWORD. TLS_PORT 0 leaves TLS out."""
import imaplib
import ssl
import sys
import time

host, port, tls_port, user, password = sys.argv[1:6]
imaplib._MAXLINE = 10_000_000


def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data


def session(imap):
    ok(imap.login(user, password))
    ok(imap.select("INBOX"))
    before = len(ok(imap.search(None, "ALL"))[0].split())
    message = b"From: a@example.test\r\nSubject: by imaplib\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    ok(imap.append("INBOX", r"(\Flagged)", imaplib.Time2Internaldate(time.time()), message))
    ok(imap.noop())
    numbers = ok(imap.search(None, "SUBJECT", '"by imaplib"'))[0].split()
    assert len(numbers) == 1, numbers
    number = numbers[0]
    data = ok(imap.fetch(number, "(FLAGS BODY.PEEK[])"))
    assert data[0][1] == message, data
    flags = imaplib.ParseFlags(data[0][0]) + imaplib.ParseFlags(data[1] or b"")
    assert rb"\Flagged" in flags, data
    ok(imap.store(number, "+FLAGS", r"(\Seen Word)"))
    ok(imap.create('"A folder"'))
    ok(imap.copy(number, '"A folder"'))
    ok(imap.subscribe('"A folder"'))
    assert any(b"A folder" in row for row in ok(imap.list())), "LIST"
    assert any(b"A folder" in row for row in ok(imap.lsub())), "LSUB"
    status = ok(imap.status('"A folder"', "(MESSAGES UNSEEN)"))[0]
    assert b"MESSAGES 1" in status and b"UNSEEN 0" in status, status
    ok(imap.store(number, "+FLAGS", r"(\Deleted)"))
    ok(imap.expunge())
    assert len(ok(imap.search(None, "ALL"))[0].split()) == before
    ok(imap.rename('"A folder"', "B"))
    ok(imap.select("B", readonly=True))
    ok(imap.uid("FETCH", "1:*", "(ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)"))
    ok(imap.close())
    ok(imap.unsubscribe('"A folder"'))
    ok(imap.delete("B"))
    kind, _ = imap.select("B")
    assert kind == "NO"
    imap.logout()


session(imaplib.IMAP4(host, int(port)))
if tls_port != "0":
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session(imaplib.IMAP4_SSL(host, int(tls_port), ssl_context=context))
    imap = imaplib.IMAP4(host, int(port))
    imap.starttls(context)
    session(imap)
print("done")
