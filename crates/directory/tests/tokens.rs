//! Tokens: signed by PyJWT and by the examples of the RFCs, and judged by an endpoint that the test plays.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use culver_directory::oauth2::{
    Endpoint, How, Introspection, Keys, Mode, OAuth2, Providers, Published, Rules,
};
use culver_directory::{CacheSettings, NotGood, Outage, TokenClaims, TokenVerifier as _};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Debian's: its modules are not another one's.
const PYTHON: &str = "/usr/bin/python3";

/// Keys in a folder and tokens by their names; `None` when PyJWT is not there.
fn signed() -> Option<(tempfile::TempDir, HashMap<String, String>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut python = Command::new(PYTHON);
    if !python.args(["-c", "import jwt, cryptography"]).output().is_ok_and(|out| out.status.success()) {
        println!("not run: python3-jwt or python3-cryptography is missing");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokens.py");
    let out = Command::new(PYTHON).arg(script).arg(folder.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some((folder, serde_json::from_slice(&out.stdout).unwrap()))
}

fn rules() -> Rules {
    Rules {
        issuers: vec!["https://id.example.org/".to_owned()],
        audience: "mail".to_owned(),
        username_claim: "email".to_owned(),
        ..Rules::default()
    }
}

const CACHE: CacheSettings = CacheSettings {
    entries: 100,
    ttl: Duration::from_secs(600),
    negative_ttl: Duration::from_secs(600),
    stale: Duration::ZERO,
};

fn by_keys(files: &[PathBuf]) -> Providers {
    let how = How::Keys(Keys::new(files).unwrap());
    Providers::new(vec![OAuth2::new("keys", how, rules(), CACHE).unwrap()]).unwrap()
}

/// Whose the token is, or why it is not good.
async fn owner(providers: &Providers, token: &str) -> Result<String, String> {
    let judged = providers.verify(token).await.unwrap();
    judged.map(|claims| claims.user).map_err(|NotGood(why)| why)
}

#[tokio::test]
async fn what_others_sign() {
    let Some((folder, tokens)) = signed() else { return };
    let file = |name: &str| folder.path().join(name);
    let good = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "p256", "p384", "ed"];
    let anna = Ok("anna@example.org".to_owned());
    for files in [vec![file("jwks.json")], vec![file("all.pem")], vec![file("rotated.json"), file("all.pem")]]
    {
        let providers = by_keys(&files);
        for name in good {
            for name in [name.to_owned(), format!("{name} unnamed")] {
                assert_eq!(owner(&providers, &tokens[&name]).await, anna, "{name} by {files:?}");
            }
        }
    }
    let providers = by_keys(&[file("jwks.json"), file("all.pem")]);
    for (name, why) in [
        ("none", "algorithm \"none\" is not accepted"),
        ("HS256", "no key for HS256"),
        ("public as secret", "no key for HS256"),
        ("p521", "algorithm \"ES512\" is not accepted"),
        ("small", "signature is wrong"),
        ("forged kid", "signature is wrong"),
        ("expired", "it ended 6"),
        ("crit", "critical"),
    ] {
        let said = owner(&providers, &tokens[name]).await.unwrap_err();
        assert!(said.contains(why), "{name}: {said}");
    }
    let providers = by_keys(&[file("jwks.json")]);
    assert!(owner(&providers, &tokens["two"]).await.unwrap_err().contains("no key \"two\" for RS256"));
    // A secret is one where the administrator says so.
    let providers = by_keys(&[file("hmac.secret")]);
    assert_eq!(owner(&providers, &tokens["HS256"]).await, anna);
    assert!(owner(&providers, &tokens["public as secret"]).await.unwrap_err().contains("signature"));
    // A key that names its algorithm serves no other.
    let providers = by_keys(&[file("pinned.json")]);
    assert_eq!(owner(&providers, &tokens["PS256"]).await, anna);
    assert!(owner(&providers, &tokens["RS256"]).await.unwrap_err().contains("no key"));

    // Each octet counts.
    let (token, providers) = (&tokens["p256"], by_keys(&[file("jwks.json")]));
    let mut refused = 0;
    for at in (0..token.len()).step_by(7) {
        let mut octets = token.clone().into_bytes();
        octets[at] = if octets[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(octets).unwrap();
        refused += usize::from(owner(&providers, &changed).await.is_err());
    }
    assert_eq!(refused, token.len().div_ceil(7));
    for end in 0..token.len() {
        assert!(owner(&providers, &token[..end]).await.is_err(), "{end}");
    }
    for text in ["", ".", "..", "...", "a.b.c", "a.b.c.d.e", &format!("{token}."), &format!("{token}=")] {
        assert!(owner(&providers, text).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let Some((folder, tokens)) = signed() else { return };
    let file = |name: &str| folder.path().join(name);
    let jwks = file("live.json");
    fs::copy(file("jwks.json"), &jwks).unwrap();
    let providers = by_keys(std::slice::from_ref(&jwks));
    assert!(owner(&providers, &tokens["RS256"]).await.is_ok());
    assert!(owner(&providers, &tokens["two"]).await.is_err());
    // The provider has a new key; as programs do that fetch it, the file is replaced.
    fs::copy(file("rotated.json"), file("new")).unwrap();
    fs::rename(file("new"), &jwks).unwrap();
    assert!(owner(&providers, &tokens["two"]).await.is_ok());
    assert!(owner(&providers, &tokens["RS256"]).await.is_err());
    // A file that is broken, or gone, leaves the keys as they were.
    fs::write(file("new"), "{").unwrap();
    fs::rename(file("new"), &jwks).unwrap();
    assert!(owner(&providers, &tokens["RS256"]).await.is_err());
    assert!(owner(&providers, &tokens["two"]).await.is_ok());
    fs::remove_file(&jwks).unwrap();
    assert!(owner(&providers, &tokens["p256"]).await.is_err());
    assert!(owner(&providers, &tokens["two"]).await.is_ok());
    fs::copy(file("jwks.json"), &jwks).unwrap();
    assert!(owner(&providers, &tokens["p256"]).await.is_ok());

    fs::write(file("text.json"), "no json").unwrap();
    fs::write(file("none.json"), "{}").unwrap();
    fs::write(file("none.pem"), "nothing").unwrap();
    fs::write(file("new"), "{}").unwrap();
    fs::write(file("odd.pem"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
    for (name, why) in [
        ("missing.json", "No such file"),
        ("text.json", "expected"),
        ("none.json", "no `keys`"),
        ("useless.json", "no key that signs"),
        ("private.json", "private key"),
        ("private.pem", "private key"),
        ("none.pem", "no key that signs"),
        ("odd.pem", "no kind that is known"),
        ("short.secret", "32 octets"),
        ("new", ".json"),
    ] {
        let said = Keys::new(&[file(name)]).err().unwrap();
        assert!(said.contains(why) && said.contains(name), "{name}: {said}");
    }
}

/// RFC 7515 appendices A.1 (HS256), A.2 (RS256) and A.3 (ES256), and RFC 8037 appendix A.4 (EdDSA).
#[tokio::test]
async fn the_examples_of_the_rfcs() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, octets: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, octets).unwrap();
        path
    };
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-\
             pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca\
             pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb5\
             4h4FRWyuXpoQ";
    let set = serde_json::json!({"keys": [
        {"kty": "RSA", "n": n, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]});
    let k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(k).unwrap();
    let (set, secret) = (file("set.json", set.to_string().as_bytes()), file("k.secret", &secret));
    let keys = Keys::new(&[set, secret]).unwrap();
    let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (header, signature) in [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t\
             1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j\
             zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ\
             Ge77Rw",
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let claims = keys.open(&format!("{header}.{payload}.{signature}")).await.unwrap();
        assert_eq!((&claims["iss"], &claims["exp"]), (&Value::from("joe"), &Value::from(1_300_819_380)));
        let other = keys.open(&format!("{header}.{payload}{}.{signature}", "AA")).await;
        assert!(other.unwrap_err().contains("signature"));
    }
    // The example's payload is a sentence: it is signed well, and no claims.
    let example = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(keys.open(example).await.unwrap_err().contains("no JSON object"));
    let other = example.replace("RXhhbXBsZSBv", "RXhhbXBsZSBw");
    assert!(keys.open(&other).await.unwrap_err().contains("signature"));
}

/// An endpoint that the test plays; it answers by the token in the request, and keeps what it heard.
struct Provider {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
    heard: Arc<Mutex<String>>,
}

fn provider() -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (asked, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
    let (count, kept) = (asked.clone(), heard.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, SeqCst);
            let (kept, stream) = (kept.clone(), stream.unwrap());
            std::thread::spawn(move || answer(stream, &kept));
        }
    });
    Provider { at, asked, heard }
}

fn answer(mut stream: TcpStream, kept: &Mutex<String>) {
    let (mut text, mut octets) = (String::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut octets).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&octets[..n]));
        let length = text
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.parse().ok());
        let whole = text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length.unwrap_or(0));
        if n == 0 || whole {
            break;
        }
    }
    kept.lock().unwrap().clone_from(&text);
    let end = 4_000_000_000_i64;
    let good = format!(r#"{{"active":true,"email":"anna@example.org","aud":"mail","exp":{end}}}"#);
    let has = |word: &str| text.contains(word);
    let (status, body) = match () {
        () if has("good") => ("200 OK", good),
        () if has("plain") => ("200 OK", r#"{"email":"anna@example.org","aud":"mail"}"#.to_owned()),
        () if has("inactive") => ("200 OK", r#"{"active":false}"#.to_owned()),
        () if has("foreign") => ("200 OK", good.replace("\"mail\"", "\"other\"")),
        () if has("issued") => ("200 OK", good.replace("{\"act", "{\"iss\":\"https://evil.example/\",\"act")),
        () if has("ended") => ("200 OK", good.replace("4000000000", "1")),
        () if has("odd") => ("200 OK", good.replace("true", "\"true\"")),
        () if has("broken") => ("500 Internal Server Error", good),
        () if has("busy") => ("429 Too Many Requests", good),
        () if has("moved") => ("302 Found", good),
        () if has("unknown-client") => ("401 Unauthorized", String::new()),
        () if has("garbage") => ("200 OK", "<html>".to_owned()),
        () if has("huge") => ("200 OK", " ".repeat(1 << 20) + &good),
        () if has("short") => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{");
            return;
        }
        () if has("nothttp") => {
            let _ = stream.write_all(b"* OK IMAP4rev1\r\n");
            return;
        }
        // Nothing comes until the other side gives up.
        () => {
            while stream.read(&mut octets).is_ok_and(|n| n > 0) {}
            return;
        }
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn asking(url: &str, mode: Mode, authorities: &Path, cache: CacheSettings) -> Providers {
    let endpoint = Endpoint::new(url, authorities, Duration::from_millis(500)).unwrap();
    let (client_id, client_secret) = ("culver".to_owned(), "se:cr et".to_owned());
    let how = How::Introspection(Box::new(Introspection { endpoint, mode, client_id, client_secret }));
    Providers::new(vec![OAuth2::new("id", how, rules(), cache).unwrap()]).unwrap()
}

#[tokio::test]
async fn introspection() {
    let provider = provider();
    let url = format!("http://{}/introspect", provider.at);
    let none = CacheSettings { entries: 0, ..CACHE };
    let tokens = asking(&url, Mode::Post, Path::new(""), none);
    let expected =
        TokenClaims { user: "anna@example.org".to_owned(), expires: Some(4_000_000_000), scope: Vec::new() };
    assert_eq!(tokens.verify("a+good/token==").await.unwrap(), Ok(expected));
    let heard = provider.heard.lock().unwrap().clone();
    assert!(heard.starts_with("POST /introspect HTTP/1.1\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\ntoken=a%2Bgood%2Ftoken%3D%3D&token_type_hint=access_token"), "{heard}");
    // RFC 6749 §2.3.1: base64 of `culver:se%3Acr%20et`.
    assert!(heard.to_lowercase().contains("\r\nauthorization: basic "), "{heard}");
    assert!(heard.contains("Y3VsdmVyOnNlJTNBY3IlMjBldA=="), "{heard}");
    assert!(heard.to_lowercase().contains("content-type: application/x-www-form-urlencoded"), "{heard}");
    for (token, why) in [
        ("inactive", "not active"),
        ("foreign", "meant for \"other\""),
        ("issued", "evil"),
        ("ended", "it ended"),
    ] {
        assert!(owner(&tokens, token).await.unwrap_err().contains(why), "{token}");
    }
    for (token, why) in [
        ("broken", "500"),
        ("busy", "429"),
        ("moved", "302"),
        ("unknown-client", "client_id and client_secret"),
        ("garbage", "no JSON object"),
        ("odd", "whether the token is active"),
        ("plain", "whether the token is active"),
        ("huge", "length limit"),
        ("short", ""),
        ("nothttp", ""),
        ("silent", "no answer within 500ms"),
    ] {
        let began = Instant::now();
        let said: Outage = tokens.verify(token).await.unwrap_err();
        assert!(said.source_name == "id" && said.why.contains(why), "{token}: {said}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    // Endpoints that answer to whoever bears the token.
    let tokens = asking(&url, Mode::Auth, Path::new(""), none);
    for (token, right) in [("plain", true), ("good", true), ("unknown-client", false), ("inactive", false)] {
        assert_eq!(owner(&tokens, token).await.is_ok(), right, "{token}");
    }
    let heard = provider.heard.lock().unwrap().clone();
    assert!(heard.starts_with("GET /introspect HTTP/1.1\r\n"), "{heard}");
    assert!(heard.to_lowercase().contains("\r\nauthorization: bearer inactive\r\n"), "{heard}");
    assert!(tokens.verify("broken").await.is_err());
    let tokens = asking(&format!("{url}?access_token="), Mode::Get, Path::new(""), none);
    assert!(owner(&tokens, "plain+").await.is_ok());
    assert!(provider.heard.lock().unwrap().starts_with("GET /introspect?access_token=plain%2B HTTP/1.1\r\n"));
    // Nobody there.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tokens = asking(&format!("http://{gone}/"), Mode::Post, Path::new(""), none);
    assert!(tokens.verify("good").await.unwrap_err().why.contains("refused"));
    for url in ["", "id.example.org", "ftp://id.example.org/", "https://"] {
        assert!(Endpoint::new(url, Path::new(""), Duration::from_secs(1)).is_err(), "{url}");
    }
}

#[tokio::test]
async fn answers_are_remembered_and_outages_are_not() {
    let provider = provider();
    let url = format!("http://{}/", provider.at);
    let tokens = asking(&url, Mode::Post, Path::new(""), CACHE);
    for _ in 0..3 {
        assert!(owner(&tokens, "good").await.is_ok());
        assert!(owner(&tokens, "inactive").await.is_err());
    }
    assert_eq!(provider.asked.load(SeqCst), 2);
    for _ in 0..3 {
        assert!(tokens.verify("broken").await.is_err());
    }
    assert_eq!(provider.asked.load(SeqCst), 5);
    // However many tokens are tried, little is kept.
    let few = asking(&url, Mode::Post, Path::new(""), CacheSettings { entries: 2, ..CACHE });
    for n in 0..10 {
        assert!(owner(&few, &format!("good{n}")).await.is_ok());
    }
    assert!(owner(&few, "good9").await.is_ok());
    assert_eq!(provider.asked.load(SeqCst), 15);
}

#[tokio::test]
async fn of_several_providers_one_must_say_yes() {
    let Some((folder, tokens)) = signed() else { return };
    let provider = provider();
    let endpoint =
        Endpoint::new(&format!("http://{}/", provider.at), Path::new(""), Duration::from_secs(5)).unwrap();
    let (client_id, client_secret) = (String::new(), String::new());
    let how =
        How::Introspection(Box::new(Introspection { endpoint, mode: Mode::Post, client_id, client_secret }));
    let scope = Rules { scope: "mail".to_owned(), openid_configuration: "https://id/".to_owned(), ..rules() };
    let keys = How::Keys(Keys::new(&[folder.path().join("jwks.json")]).unwrap());
    let all = vec![
        OAuth2::new("keys", keys, rules(), CACHE).unwrap(),
        OAuth2::new("id", how, rules(), CACHE).unwrap(),
        OAuth2::new("other", How::Keys(Keys::new(&[folder.path().join("all.pem")]).unwrap()), scope, CACHE)
            .unwrap(),
    ];
    let all = Providers::new(all).unwrap();
    assert!(owner(&all, &tokens["RS256"]).await.is_ok());
    assert_eq!(provider.asked.load(SeqCst), 0);
    assert!(owner(&all, "good").await.is_ok());
    let why = owner(&all, "inactive").await.unwrap_err();
    assert!(why.contains("keys: it is no signed JWT") && why.contains("id: the provider says"), "{why}");
    assert!(all.verify("broken").await.is_err());
    assert_eq!((all.scope(), all.configuration()), (Some("mail"), Some("https://id/")));
    assert!(Providers::new(Vec::new()).is_none());
}

/// TLS, spoken by OpenSSL's server, which answers with the files of its folder.
#[tokio::test]
async fn tls_to_the_provider() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other, key) = (authority("ours"), authority("other"), rcgen::KeyPair::generate().unwrap());
    let certificate =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let (ours, other) = (file("ca.pem", ours.pem()), file("other.pem", other.pem()));
    let (certificate, key) = (file("cert.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    let answer =
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"email\":\"anna@example.org\",\"aud\":\"mail\"}";
    file("userinfo", answer.to_owned());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-HTTP", "-accept", &format!("127.0.0.1:{port}"), "-key"]).arg(&key);
    let server =
        server.arg("-cert").arg(&certificate).current_dir(folder.path()).stdin(std::process::Stdio::null());
    let Ok(mut server) = server.stderr(std::process::Stdio::null()).spawn() else {
        println!("not run: openssl is missing");
        return;
    };
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "openssl s_server does not listen");
        std::thread::yield_now();
    }
    let url = format!("https://127.0.0.1:{port}/userinfo");
    let good = asking(&url, Mode::Auth, &ours, CACHE).verify("x").await;
    let bad = asking(&url, Mode::Auth, &other, CACHE).verify("x").await;
    let named = asking(&url.replace("127.0.0.1", "localhost"), Mode::Auth, &ours, CACHE).verify("x").await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(good.unwrap().unwrap().user, "anna@example.org");
    let why = bad.unwrap_err().why;
    assert!(why.contains("UnknownIssuer") && why.contains("ca_file"), "{why}");
    let why = named.unwrap_err().why;
    assert!(why.contains("not valid for name"), "{why}");
    let missing = Endpoint::new(&url, Path::new("/nonexistent"), Duration::from_secs(1));
    assert!(missing.err().unwrap().contains("/nonexistent"));
}

/// A JWK set by HTTP: fetched once, again for a key that is unknown, and believed while the provider is away.
#[tokio::test]
async fn keys_that_the_provider_publishes() {
    let Some((folder, tokens)) = signed() else { return };
    let set = |name: &str| Some(fs::read_to_string(folder.path().join(name)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys?tenant=7", listener.local_addr().unwrap());
    let (body, asked) = (Arc::new(Mutex::new(set("jwks.json"))), Arc::new(AtomicUsize::new(0)));
    let (told, count) = (body.clone(), asked.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut text, mut octets) = (stream.unwrap(), String::new(), [0; 4096]);
            while !text.contains("\r\n\r\n") {
                match stream.read(&mut octets) {
                    Ok(n) if n > 0 => text.push_str(&String::from_utf8_lossy(&octets[..n])),
                    _ => break,
                }
            }
            assert!(text.starts_with("GET /keys?tenant=7 HTTP/1.1\r\n"), "{text}");
            count.fetch_add(1, SeqCst);
            let (status, body) = match &*told.lock().unwrap() {
                Some(body) => ("200 OK", body.clone()),
                None => ("503 Service Unavailable", String::new()),
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    let by = |pace| {
        let endpoint = Endpoint::new(&url, Path::new(""), Duration::from_secs(20)).unwrap();
        let how = How::Published(Box::new(Published::new(endpoint, pace)));
        Providers::new(vec![OAuth2::new("published", how, rules(), CACHE).unwrap()]).unwrap()
    };
    let anna = Ok("anna@example.org".to_owned());
    let providers = by(Duration::ZERO);
    // What is no token needs no keys.
    for text in ["", "a.b.c", &tokens["none"]] {
        assert!(owner(&providers, text).await.is_err());
    }
    assert_eq!(asked.load(SeqCst), 0);
    for name in ["RS256", "PS512", "p256", "ed", "RS256 unnamed"] {
        assert_eq!(owner(&providers, &tokens[name]).await, anna, "{name}");
    }
    assert!(owner(&providers, &tokens["small"]).await.unwrap_err().contains("signature is wrong"));
    assert_eq!(asked.load(SeqCst), 1);
    // An outage: the keys go on to count, and a key that is unknown may be a new one.
    for broken in [None, Some("no JSON".to_owned()), Some("{\"keys\":[]}".to_owned())] {
        *body.lock().unwrap() = broken;
        let why = providers.verify(&tokens["two"]).await.unwrap_err().why;
        assert!(why.starts_with("jwks_uri: "), "{why}");
        assert_eq!(owner(&providers, &tokens["RS256"]).await, anna);
    }
    assert_eq!(asked.load(SeqCst), 4);
    // The provider has another key now, and has withdrawn the first.
    *body.lock().unwrap() = set("rotated.json");
    assert_eq!(owner(&providers, &tokens["two"]).await, anna);
    assert!(owner(&providers, &tokens["RS256"]).await.unwrap_err().contains("at jwks_uri"));
    assert_eq!(asked.load(SeqCst), 6);

    // Not for every token with a name of its own.
    *body.lock().unwrap() = set("jwks.json");
    asked.store(0, SeqCst);
    let providers = by(Duration::from_secs(3600));
    assert_eq!(owner(&providers, &tokens["RS256"]).await, anna);
    for _ in 0..5 {
        assert!(
            owner(&providers, &tokens["two"])
                .await
                .unwrap_err()
                .contains("no key \"two\" for RS256 at jwks_uri")
        );
    }
    assert_eq!(asked.load(SeqCst), 1);
}
