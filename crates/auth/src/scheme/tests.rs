//! Every scheme against what other programs made of the password `secret`.

use super::*;
use proptest::prelude::*;

/// From `doveadm pw -s SCHEME -u anna@example.com -p secret` of Dovecot 2.3; the last block from Perl's crypt(3) with libxcrypt.
const OF_SECRET: &[&str] = &[
    "{PLAIN}secret",
    "{CLEAR}secret",
    "{cleartext}secret",
    "{PLAIN-TRUNC}secret",
    "{CRYPT}$2y$05$6JozEURhN2LM5by54sBNwOS6rdkiuMQnwribIHGh4PC1CrU.PW6ea",
    "{DES-CRYPT}DPQqAud.W7K9.",
    "{MD5-CRYPT}$1$MgB9ROpV$pn1N7aSyf3gYUDW4ohmsD0",
    "{MD5}$1$IY9RJVAR$xctvWulYsgKOzu26qbByR/",
    "{SHA256-CRYPT}$5$uxPaYj2AMA6XqB/5$01ZRQQUVYkIvDS8ngh2YPwRhuM7EqRGdMdvb6v/H2z6",
    "{SHA512-CRYPT}$6$CmaI0TtW1f5jvbgy$qVSjyYKOdp.ET5USSNL0DMBpqwjbaKafDdxvZLckRCNZGDmkyzWuWeGbjiyJbEAdY.3wB2rt6J76qBD3NzWO/1",
    "{BLF-CRYPT}$2y$05$c3oDMk1XiOdn0Tx.UAZ.qOaMD/nMiLu6PpiXCT2CLc0LJgOCEgq8K",
    "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$eqNMykYmXk6/TFcOs0nsXQ$r7nMYVKGVuDLE2Sbsyh/CZloFn6H+rr0XjpM10IrKB0",
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$6TPrVrRj9n+JQYFBgStDCw$GPKxzU9OgKA75/13zr8Tkol2ZEyxKGj5/jkH0g8bhaU",
    "{PBKDF2}$1$Wf9EOOX4px2.oXuk$5000$8a06a9e4a5507d5c63b20c261558631c73d724d0",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SHA1}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
    "{SSHA}TP3C04joqJUA+G8UXmEnjznrVfMTnZDo",
    "{SSHA256}K5n1KsvvUiGESz9GbP/8KUKOZhI3sCIrfObZzGe8PaEbosvw",
    "{SSHA512}VXgFK3nRsu5rv7Ts0mxMej1TsXEjrcfHBAtlSjskcb262j/2cM2SDsrqiRzXYkXXSJzqe7sEVsVswnBW4ofI0DVpioU=",
    "{SMD5}z/YRSfpWIY3/c1OcyqCNQwq1OrY=",
    "{PLAIN-MD4}67d3dafef63ff00603aeef3769cfbf0d",
    "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
    "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{HMAC-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
    "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
    "{DIGEST-MD5}1b3d1751931f2a049140d81210b9b0c1",
    "{SCRAM-SHA-1}4096,+8ljJkT2LBpnCEC+NATczA==,OWCtpBcxOVtuxQRWirLlpUM1FR0=,x0v40D+sd8jvhl8nEsNon7pvTQI=",
    "{SCRAM-SHA-256}4096,tlG9zmEPgrlbmIq5f1P2bA==,IvnBESAwOjwegjN1w01saf8shGiocY+69PKmEk4+CKQ=,y6kxzmFd4H6AEbK86VFrjl+7ht9RGYuusqh5g//tze0=",
    "{SSHA256.HEX}907af72fd37e09d7204c2f273160865864b4d3d16acf249d6844dcad3950d84a610f69a4",
    "{SHA256.HEX}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    "{PLAIN.B64}c2VjcmV0",
    "{plain.base64}c2VjcmV0",
    "{PLAIN.HEX}736563726574",
    "{PLAIN-MD5.b64}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
    "5ebe2294ecd0e0f08eab7690d2a6ee69[34]",
    "1b3d1751931f2a049140d81210b9b0c1[56]",
    "$1$MgB9ROpV$pn1N7aSyf3gYUDW4ohmsD0",
    "abNANd1rDfiNc",
    "$y$j9T$abcdefghij012345678$NU7IIdeLea3V3R2PxODf6HD/A/foeCsmYV2TCLy6hG3",
    "{CRYPT}$y$j9T$abcdefghij0123456789./$ejntUHfilLUC2jFUEgogxwNKI26wgFX7CJClQX0W3x8",
];

#[test]
fn every_scheme_verifies() {
    for text in OF_SECRET {
        let stored = Stored::parse(text).unwrap();
        assert_eq!(stored.verify(b"secret", "anna@example.com"), Ok(true), "{text}");
        for wrong in ["secres", "Secret", "secre", ""] {
            assert_eq!(stored.verify(wrong.as_bytes(), "anna@example.com"), Ok(false), "{text} {wrong}");
        }
    }
}

#[test]
fn sha_crypt_with_rounds() {
    // From crypt(3) of libxcrypt.
    let table = [
        "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ];
    for text in table {
        assert_eq!(Stored::parse(text).unwrap().verify(b"Hello world!", ""), Ok(true), "{text}");
        assert_eq!(Stored::parse(text).unwrap().verify(b"Hello world", ""), Ok(false), "{text}");
    }
}

#[test]
fn a_truncated_password_is_compared_as_far_as_it_was_kept() {
    let verify =
        |text: &str, password: &str| Stored::parse(text).unwrap().verify(password.as_bytes(), "").unwrap();
    assert!(verify("{PLAIN-TRUNC}6-secret", "secretary"));
    assert!(verify("{PLAIN-TRUNC}6-secret", "secret"));
    assert!(!verify("{PLAIN-TRUNC}6-secret", "secre"));
    assert!(!verify("{PLAIN-TRUNC}9-secret", "secretary"));
    assert!(verify("{PLAIN-TRUNC}9-secret", "secret"));
}

#[test]
fn what_cannot_be_read_is_no_wrong_password() {
    let bad = [
        "{NOSUCH}x",
        "{SHA}x",
        "{SHA.rot13}x",
        "{PLAIN-MD5}5ebe",
        "{CRYPT}",
        "{CRYPT}x",
        "{CRYPT}$9$x$y",
        "{CRYPT}$2y$99$x",
        "{ARGON2ID}x",
        "{ARGON2ID}$argon2id$v=19$m=99999999,t=3,p=1$6TPrVrRj9n+JQYFBgStDCw$GPKxzU9OgKA75",
        "{PBKDF2}$1$a$0$00",
        "{SCRAM-SHA-256}1,2,3",
        "{SSHA}AAAA",
        "{MD5}x",
        "{MD5-CRYPT}$1$",
        "$y$jzzT$a$b",
        "{CRYPT}$6$rounds=999999999$a$b",
        "",
    ];
    for text in bad {
        let verdict = Stored::parse(text).and_then(|stored| stored.verify(b"secret", "a@b"));
        assert!(verdict.is_err(), "{text}: {verdict:?}");
    }
}

#[test]
fn weak_schemes_are_told() {
    for text in [
        "{SMD5}z/YRSfpWIY3/c1OcyqCNQwq1OrY=",
        "abNANd1rDfiNc",
        "$1$a$b",
        "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
    ] {
        assert!(Stored::parse(text).unwrap().is_weak(), "{text}");
    }
    for text in ["{PLAIN}x", "$y$j9T$a$b", "{SSHA}TP3C04joqJUA+G8UXmEnjznrVfMTnZDo", "{CRYPT}$6$a$b"] {
        assert!(!Stored::parse(text).unwrap().is_weak(), "{text}");
    }
}

#[test]
fn what_is_made_verifies() {
    for how in [Make::ScramSha256, Make::Argon2id, Make::Sha512Crypt, Make::BlfCrypt, Make::Plain] {
        for password in ["secret", "mit Umlaut ä", "a:b"] {
            let text = make(how, password).unwrap();
            let stored = Stored::parse(&text).unwrap();
            assert_eq!(stored.verify(password.as_bytes(), ""), Ok(true), "{text}");
            assert_eq!(stored.verify(b"other", ""), Ok(false), "{text}");
            assert!(!stored.is_weak());
        }
    }
    // bcrypt would take the first 72 octets for the whole.
    assert_eq!(make(Make::BlfCrypt, &"x".repeat(73)), None);
    assert_eq!(make(Make::BlfCrypt, "a\0b"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_text_does_harm(text in "(\\{(SHA|SSHA|MD5|CRYPT|PBKDF2|PLAIN-TRUNC|SCRAM-SHA-1|ARGON2|DIGEST-MD5)(\\.hex|\\.b64)?\\})?\\$?[ -~]{0,30}", password: Vec<u8>) {
        crate::fuzz::fuzz_stored(&[text.as_bytes(), b"\n", &password].concat());
    }
}
