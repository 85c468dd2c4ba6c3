"""APOP by Python's poplib. Arguments: host, port, user, password."""
import poplib
import sys

host, port, user, password = sys.argv[1:]
timestamps = set()
for secret in (password, "wrong"):
    pop = poplib.POP3(host, int(port))
    timestamps.add(pop.welcome[pop.welcome.index(b"<"):])
    try:
        pop.apop(user, secret)
        assert secret == password
        assert pop.stat()[0] == 0
        pop.quit()
    except poplib.error_proto as error:
        assert secret == "wrong" and b"[AUTH]" in error.args[0], error
assert len(timestamps) == 2
print("done")
