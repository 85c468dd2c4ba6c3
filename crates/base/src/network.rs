//! Networks of IP addresses.

use std::fmt;
use std::net::IpAddr;

/// A network such as `192.0.2.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// `192.0.2.0/24`; a single address without bits.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        write!(f, "{}", self.address)?;
        if self.bits < most { write!(f, "/{}", self.bits) } else { Ok(()) }
    }
}

impl Network {
    /// Parses `address` or `address/bits`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |b| b.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    /// Is the address in it? An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(a) & mask == u32::from(b) & mask
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(a) & mask == u128::from(b) & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let inside = |net: &str, ip: &str| Network::parse(net).unwrap().contains(ip.parse().unwrap());
        assert!(inside("192.0.2.0/24", "192.0.2.200"));
        assert!(inside("192.0.2.0/24", "::ffff:192.0.2.200"));
        assert!(!inside("192.0.2.0/24", "192.0.3.1"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:1::1"));
        assert!(inside("192.0.2.1", "192.0.2.1"));
        assert!(!inside("192.0.2.1", "192.0.2.2"));
        for text in ["192.0.2.0/24", "192.0.2.1", "2001:db8::/32"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "192.0.2.0/33", "x/3", "::/129", "192.0.2.0/"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
