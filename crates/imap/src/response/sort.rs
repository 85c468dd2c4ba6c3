//! SORT and THREAD (RFC 5256 §4), with MODSEQ (RFC 7162 §3.1.9).

use super::text::number;
use culver_base::ModSeq;

/// SORT. `mod_seq` is left out when nothing was found, as the grammar wants.
pub fn sort(out: &mut Vec<u8>, sorted: &[u32], mod_seq: Option<ModSeq>) {
    out.extend_from_slice(b"* SORT");
    for n in sorted {
        out.push(b' ');
        number(out, u64::from(*n));
    }
    if let Some(mod_seq) = mod_seq.filter(|_| !sorted.is_empty()) {
        out.extend_from_slice(b" (MODSEQ ");
        number(out, mod_seq.get());
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// Numbers in an order that is not theirs, as a `sequence-set`: runs that ascend are ranges (RFC 5267 §3.2).
pub fn ordered_set(out: &mut Vec<u8>, numbers: &[u32]) {
    let mut rest = numbers;
    while let Some(&first) = rest.first() {
        let run = rest.iter().zip(first..=u32::MAX).take_while(|(n, want)| **n == *want).count();
        if rest.len() < numbers.len() {
            out.push(b',');
        }
        number(out, u64::from(first));
        if run > 1 {
            out.push(b':');
            number(out, u64::from(rest[run - 1]));
        }
        rest = &rest[run..];
    }
}

/// A message in its thread.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ThreadNode {
    /// Sequence number or UID; `None` stands for a message that is not there, at the top only.
    pub number: Option<u32>,
    /// What follows it, in order: indices of nodes.
    pub children: Vec<u32>,
}

/// THREAD. `roots` are indices of `nodes`; every node is reached once at most.
pub fn thread(out: &mut Vec<u8>, nodes: &[ThreadNode], roots: &[u32]) {
    /// What is still to be written, the next one last.
    enum Step {
        Open(u32),
        Close,
    }
    out.extend_from_slice(b"* THREAD");
    if !roots.is_empty() {
        out.push(b' ');
    }
    let mut steps: Vec<Step> = roots.iter().rev().map(|r| Step::Open(*r)).collect();
    while let Some(step) = steps.pop() {
        let Step::Open(mut at) = step else {
            out.push(b')');
            continue;
        };
        out.push(b'(');
        steps.push(Step::Close);
        let mut first = true;
        while let Some(node) = nodes.get(at as usize) {
            if let Some(n) = node.number {
                if !first {
                    out.push(b' ');
                }
                number(out, u64::from(n));
                first = false;
            }
            match node.children[..] {
                [] => break,
                [only] => at = only,
                ref several => {
                    if !first {
                        out.push(b' ');
                    }
                    steps.extend(several.iter().rev().map(|c| Step::Open(*c)));
                    break;
                }
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32, children: &[u32]) -> ThreadNode {
        ThreadNode { number: (number > 0).then_some(number), children: children.to_vec() }
    }

    #[test]
    fn threads_as_in_the_rfc() {
        // RFC 5256 §4, the two examples of THREAD; the second with a missing top.
        let nodes = [
            node(2, &[]),
            node(3, &[2]),
            node(6, &[3, 5]),
            node(4, &[4]),
            node(23, &[]),
            node(44, &[6]),
            node(7, &[7]),
            node(96, &[]),
            node(0, &[9, 10]),
            node(3, &[]),
            node(5, &[]),
        ];
        let show = |roots: &[u32]| {
            let mut out = Vec::new();
            thread(&mut out, &nodes, roots);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(&[0, 1]), "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n");
        assert_eq!(show(&[8]), "* THREAD ((3)(5))\r\n");
        assert_eq!(show(&[]), "* THREAD\r\n");
    }

    #[test]
    fn a_set_keeps_its_order() {
        for (numbers, want) in [
            (&[23765, 23764, 23763, 23761][..], "23765,23764,23763,23761"),
            (&[4, 5, 6, 1, 9, 8], "4:6,1,9,8"),
            (&[], ""),
            (&[u32::MAX], "4294967295"),
        ] {
            let mut out = Vec::new();
            ordered_set(&mut out, numbers);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn sort_with_and_without_mod_seq() {
        let show = |numbers: &[u32], m| {
            let mut out = Vec::new();
            sort(&mut out, numbers, m);
            String::from_utf8(out).unwrap()
        };
        // RFC 5256 §4; RFC 7162 §3.1.9.
        assert_eq!(show(&[2, 84, 882], None), "* SORT 2 84 882\r\n");
        assert_eq!(show(&[2, 5], ModSeq::new(917_162_500)), "* SORT 2 5 (MODSEQ 917162500)\r\n");
        assert_eq!(show(&[], ModSeq::new(7)), "* SORT\r\n");
    }
}
