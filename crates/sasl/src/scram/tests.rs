//! The RFCs' examples, what is refused, and properties.

use super::*;
use proptest::prelude::*;

fn example(hash: Hash, client_nonce: &str, server_nonce: &str, salt: &str, expected: [&str; 4]) {
    let client = Client::new(hash, "user", b"pencil", client_nonce);
    assert_eq!(client.first(), expected[0]);
    let stored = Stored::derive(hash, b"pencil", &STANDARD.decode(salt).unwrap(), 4096);
    let first = ClientFirst::parse(client.first().as_bytes()).unwrap();
    assert_eq!((first.user.as_str(), &first.authorize), ("user", &None));
    let server = Server::new(first, stored, server_nonce, Vec::new());
    assert_eq!(server.challenge(), expected[1]);
    let (last, verifier) = client.last(server.challenge()).unwrap();
    assert_eq!(last, expected[2]);
    assert_eq!(server.finish(last.as_bytes()).unwrap(), expected[3]);
    assert_eq!(verifier, expected[3]);
}

#[test]
fn the_example_of_rfc_5802_section_5() {
    example(
        Hash::Sha1,
        "fyko+d2lbbFgONRv9qkxdawL",
        "3rfcNHYJY1ZVvWVs7j",
        "QSXCR+Q6sek8bf92",
        [
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ],
    );
}

#[test]
fn the_example_of_rfc_7677_section_3() {
    example(
        Hash::Sha256,
        "rOprNGfwEbeRWgbNEkqO",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    );
}

fn run(password: &[u8], channels: [&[u8]; 2], change: impl Fn(String) -> String) -> Result<String, Refused> {
    let client = Client::new(Hash::Sha256, "a,=b", password, "abc").bound("tls-exporter", channels[0]);
    let first = ClientFirst::parse(client.first().as_bytes()).unwrap();
    assert_eq!(first.user, "a,=b");
    assert_eq!(first.binding, Binding::Used("tls-exporter".to_owned()));
    let stored = Stored::derive(Hash::Sha256, b"pencil", b"salt", 10);
    let server = Server::new(first, stored, "def", channels[1].to_vec());
    let (last, expected) = client.last(server.challenge()).unwrap();
    let answer = server.finish(change(last).as_bytes())?;
    assert_eq!(answer, expected);
    Ok(answer)
}

#[test]
fn only_the_right_password_on_the_right_channel() {
    let same = |text: String| text;
    assert!(run(b"pencil", [b"channel", b"channel"], same).is_ok());
    assert_eq!(run(b"Pencil", [b"channel", b"channel"], same), Err(Refused::Proof));
    assert_eq!(run(b"pencil", [b"channel", b"another"], same), Err(Refused::Mismatch));
    assert_eq!(run(b"pencil", [b"c", b"c"], |t| t.replace("abcdef", "abcxyz")), Err(Refused::Mismatch));
    assert_eq!(
        run(b"pencil", [b"c", b"c"], |t| format!("{}p=", t.split("p=").next().unwrap())),
        Err(Refused::Proof)
    );
    assert!(matches!(run(b"pencil", [b"c", b"c"], |t| t + "!"), Err(Refused::Malformed(_))));
    assert!(matches!(run(b"pencil", [b"c", b"c"], |_| String::new()), Err(Refused::Malformed(_))));
}

#[test]
fn one_exchange_proves_one_of_several_passwords() {
    let stored = Stored::derive(Hash::Sha256, b"pencil", b"salt", 10);
    let other = stored.derive_like(b"pen");
    let salted_otherwise = Stored::derive(Hash::Sha256, b"brush", b"pepper", 10);
    assert!(stored.like(&other) && !stored.like(&salted_otherwise));
    for (password, expected) in
        [("pencil", Ok(0)), ("pen", Ok(1)), ("brush", Err(Refused::Proof)), ("x", Err(Refused::Proof))]
    {
        let client = Client::new(Hash::Sha256, "u", password.as_bytes(), "abc");
        let first = ClientFirst::parse(client.first().as_bytes()).unwrap();
        let server = Server::new(first, stored.clone(), "def", Vec::new());
        let server = server.or([other.clone(), salted_otherwise.clone()]);
        let (last, verifier) = client.last(server.challenge()).unwrap();
        let done = server.finish_by(last.as_bytes());
        assert_eq!(
            done.as_ref().map(|(index, _)| *index),
            expected.as_ref().map(|index| *index),
            "{password}"
        );
        if let Ok((_, said)) = done {
            assert_eq!(said, verifier);
        }
    }
}

#[test]
fn first_messages_that_are_refused() {
    let bad = [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=,r=x",
        "n,,n=u",
        "n,,n=u,r=",
        "x,,n=u,r=a",
        "p=,,n=u,r=a",
        "n,b=x,n=u,r=a",
        "n,,m=x,n=u,r=a",
        "n,,n=u=2,r=a",
        "n,,n=u=,r=a",
        "n,,n=u,r=a b",
        "n,,r=a,n=u",
    ];
    for text in bad {
        assert!(ClientFirst::parse(text.as_bytes()).is_err(), "{text}");
    }
    let first = ClientFirst::parse(b"y,a=boss,n=u=2Cx=3D,r=a,ext=1").unwrap();
    assert_eq!(
        (first.binding, first.authorize.as_deref(), first.user.as_str()),
        (Binding::NotOffered, Some("boss"), "u,x=")
    );
}

#[test]
fn stored_passwords() {
    // From `doveadm pw -s SCRAM-SHA-256 -p secret` and `-s SCRAM-SHA-1`.
    let table = [
        (
            Hash::Sha256,
            "4096,tlG9zmEPgrlbmIq5f1P2bA==,IvnBESAwOjwegjN1w01saf8shGiocY+69PKmEk4+CKQ=,y6kxzmFd4H6AEbK86VFrjl+7ht9RGYuusqh5g//tze0=",
        ),
        (
            Hash::Sha1,
            "4096,+8ljJkT2LBpnCEC+NATczA==,OWCtpBcxOVtuxQRWirLlpUM1FR0=,x0v40D+sd8jvhl8nEsNon7pvTQI=",
        ),
    ];
    for (hash, text) in table {
        let stored = Stored::parse(hash, text).unwrap();
        assert!(stored.verify(b"secret"));
        assert!(!stored.verify(b"Secret"));
        assert_eq!(stored.to_text(), text);
        assert!(stored == Stored::derive(hash, b"secret", &stored.salt, 4096));
        for end in 0..text.len() - 1 {
            assert!(Stored::parse(hash, &text[..end]).is_none());
        }
    }
    // RFC 4013 §3: SOFT HYPHEN is mapped to nothing.
    assert!(Stored::derive(Hash::Sha256, "I\u{ad}X".as_bytes(), b"s", 1).verify(b"IX"));
    // A password that is not UTF-8 is itself.
    assert!(Stored::derive(Hash::Sha256, b"\xff", b"s", 1).verify(b"\xff"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_do_harm(data in proptest::collection::vec(any::<u8>(), 0..80)) {
        crate::fuzz::fuzz_sasl(&data);
    }

    #[test]
    fn nearly_right_bytes_do_no_harm(text in "(n|y|p=x)?,(a=[a-z=2C]{0,3})?,(n=[a-z=23CD]{0,4},)?r=[ -~]{0,5}\nc=[a-z]{0,4},r=[ -~]{0,8}(,p=[A-Za-z0-9=]{0,8})?") {
        crate::fuzz::fuzz_sasl(text.as_bytes());
    }

    #[test]
    fn names_survive(user in "[a-z,=@]{1,20}") {
        let client = Client::new(Hash::Sha256, &user, b"x", "abc");
        prop_assert_eq!(ClientFirst::parse(client.first().as_bytes()).unwrap().user, user);
    }
}
