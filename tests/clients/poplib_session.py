"""A session of Python's poplib: what it lists, reads and deletes. Arguments: host, port, TLS port, user, password."""
import poplib
import ssl
import sys

host, port, tls, user, password = sys.argv[1:]
trusting = ssl.create_default_context()
trusting.check_hostname = False
trusting.verify_mode = ssl.CERT_NONE


def logged_in(pop):
    pop.user(user)
    pop.pass_(password)
    return pop


pop = logged_in(poplib.POP3(host, int(port)))
count, size = pop.stat()
assert count == 10, count
response, sizes, _ = pop.list()
assert sum(int(line.split()[1]) for line in sizes) == size
identifiers = [line.split()[1] for line in pop.uidl()[1]]
assert len(set(identifiers)) == 10
for n in range(1, 11):
    _, lines, octets = pop.retr(n)
    assert octets == int(sizes[n - 1].split()[1]), (n, octets)
    assert any(b"Number %d" % n in line for line in lines)
_, lines, _ = pop.top(3, 0)
assert lines[-1] == b"", lines
assert b"UIDL" in [c.encode() for c in pop.capa()]
pop.dele(1)
pop.rset()
pop.dele(2)
pop.quit()

# STLS, and TLS from the first byte.
pop = poplib.POP3(host, int(port))
pop.stls(trusting)
pop = logged_in(pop)
assert pop.stat()[0] == 9
assert [line.split()[1] for line in pop.uidl()[1]] == identifiers[:1] + identifiers[2:]
pop.dele(1)
# No QUIT: nothing is deleted.
pop.close()

pop = logged_in(poplib.POP3_SSL(host, int(tls), context=trusting))
assert pop.stat()[0] == 9
pop.quit()

try:
    wrong = poplib.POP3(host, int(port))
    wrong.user(user)
    wrong.pass_("wrong")
    raise SystemExit("a wrong password was taken")
except poplib.error_proto as error:
    assert b"[AUTH]" in error.args[0], error
print("done")
