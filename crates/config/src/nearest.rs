//! The known word nearest to a mistyped one.

/// The nearest of `known`, if one is near: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(64).collect::<String>().to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|k| (distance(&word, &k.to_ascii_lowercase().replace('-', "_")), *k))
        .min()
        .filter(|(d, k)| *d <= (k.len() / 3).max(1))
        .map(|(_, k)| k)
}

/// Insertions, deletions, replacements, and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut two = vec![0; b.len() + 1];
    let mut one: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (one[j] + 1).min(row[j - 1] + 1).min(one[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(two[j - 2] + 1);
            }
        }
        two = one;
        one = row;
    }
    one[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        let known = ["idle_timeout", "listen", "key"];
        assert_eq!(nearest("idel_timeout", &known), Some("idle_timeout"));
        assert_eq!(nearest("Idle-Timeout", &known), Some("idle_timeout"));
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("kye", &known), Some("key"));
        assert_eq!(nearest("mail_location", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
