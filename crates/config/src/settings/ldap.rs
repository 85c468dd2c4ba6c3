//! The settings of directory servers.

use super::DatabaseTls;
use crate::item::choice;
use crate::section::section;
use std::path::PathBuf;
use std::time::Duration;

choice! {
    /// How far a search goes.
    LdapScope {
        /// Everything below `base`.
        "subtree" => Subtree,
        /// What is right below `base`.
        "onelevel" => OneLevel,
        /// `base` itself.
        "base" => Base,
    } default Subtree
}

section! {
    /// A directory server (`source = "ldap"`). Tested with OpenLDAP; what is used of the protocol is what all servers have.
    Ldap {
        /// Addresses: `ldap://host`, `ldaps://host` or `ldapi://%2Frun%2Fslapd%2Fldapi`. The first one that answers is used.
        uris: Vec<String> = Vec::new(), Restart, "[\"ldaps://ldap1.example.org\", \"ldaps://ldap2.example.org\"]";
        /// TLS on `ldap://`: `no`, `starttls` (it is asked for, and nothing is sent without).
        tls: DatabaseTls = DatabaseTls::No, Restart, "\"starttls\"";
        /// Authorities (PEM) that sign the server's certificate. Empty: those of the system.
        ca_file: PathBuf = PathBuf::new(), Restart, "\"/etc/ssl/ldap-ca.pem\"";
        /// Who searches. Empty: nobody in particular.
        bind_dn: String = String::new(), Restart, "\"cn=culver,dc=example,dc=org\"";
        /// Their password. The configuration should then be readable by the service user only.
        bind_password: String = String::new(), Restart, "\"secret\"";
        /// Where searches begin. `%u`, `%n` and `%d` are escaped, here and below.
        base: String = String::new(), Restart, "\"ou=people,dc=example,dc=org\"";
        /// How far they go: `subtree`, `onelevel` or `base`.
        scope: LdapScope = LdapScope::Subtree, Restart, "\"onelevel\"";
        /// The entry of a user. Empty, with `auth_bind_dn` and `serves = "passwords"`: nothing is searched for.
        filter: String = "(&(objectClass=inetOrgPerson)(mail=%u))".to_owned(), Restart, "\"(&(objectClass=posixAccount)(uid=%n))\"";
        /// Attributes and the fields that they become, as `attribute=field`; those of the user's side begin with `userdb_`. In
        /// `attribute=field=text`, `%$` is the value; in `=field=text`, `%{ldap:attribute}` is one, and
        /// `%{ldap:attribute:otherwise}` has something for entries without it.
        attributes: Vec<String> = ["userPassword=password", "uidNumber=userdb_uid", "gidNumber=userdb_gid", "homeDirectory=userdb_home"].map(str::to_owned).to_vec(), Restart, "[\"homeDirectory=userdb_home\", \"mailQuota=userdb_quota_rule=*:bytes=%$\"]";
        /// Is a password proved by a bind as the user? Otherwise the attribute that becomes `password` is read and compared here,
        /// which mechanisms other than PLAIN and LOGIN need.
        auth_bind: bool = true, Restart, "false";
        /// The name for that bind. Empty: that of the entry which was found.
        auth_bind_dn: String = String::new(), Restart, "\"uid=%n,ou=people,dc=example,dc=org\"";
        /// The entries of all accounts. Empty: they cannot be listed.
        iterate_filter: String = String::new(), Restart, "\"(objectClass=inetOrgPerson)\"";
        /// The attribute of these with the address.
        iterate_attribute: String = "mail".to_owned(), Restart, "\"uid\"";
        /// Users who bind at once. Searches share one connection.
        connections: u32 = 5, Restart, "20";
        /// A connection must stand within this time.
        connect_timeout: Duration = Duration::from_secs(5), Restart, "\"10s\"";
        /// An answer must come within this time.
        query_timeout: Duration = Duration::from_secs(10), Restart, "\"30s\"";
    }
}
