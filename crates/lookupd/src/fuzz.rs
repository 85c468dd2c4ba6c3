//! Targets for a fuzzer: what an MTA might send, or somebody else.

use crate::socketmap::Netstring;
use crate::{Answer, line, policy, socketmap, tcp_table};

/// A request of each look-up's language.
pub fn fuzz_lookup(data: &[u8]) {
    match socketmap::netstring(data) {
        Netstring::Whole(content, used) => {
            assert!(used <= data.len() && content.len() < used);
            let _ = socketmap::request(content);
        }
        Netstring::More => assert!(data.len() <= socketmap::LONGEST + 5, "an end is found"),
        Netstring::Malformed => {}
    }
    let _ = line::request(data);
    let answer = Answer::Found(tcp_table::request(data).unwrap_or_default());
    let (mut table, mut map) = (Vec::new(), Vec::new());
    tcp_table::reply(&answer, &mut table);
    assert!(table.len() <= tcp_table::LONGEST && table.iter().filter(|b| **b == b'\n').count() == 1);
    socketmap::reply(&answer, &mut map);
    assert!(map.ends_with(b",") && !map.contains(&b'\n'));
}

/// A request of the policy service.
pub fn fuzz_policy(data: &[u8]) {
    if let policy::Step::Whole(request, used) = policy::request(data) {
        assert!(data[..used].ends_with(b"\n"));
        let mut out = Vec::new();
        policy::reply(&request.recipient, &mut out);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 2, "nothing breaks out of the reply");
    }
}
