//! The URL that a readiness probe requests.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A readiness URL of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// `None` for `localhost`, which means whichever loopback address the service listens on.
    pub address: Option<IpAddr>,
    pub port: u16,
    pub target: String,
    pub authority: String,
    pub is_tls: bool,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a readiness URL; write one such as http://127.0.0.1:8000/health");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let is_tls = uri.scheme_str() == Some("https");
        if !(is_tls || uri.scheme_str() == Some("http"))
            || authority.as_str().contains('@')
            || has_wrong_port(authority)
        {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']);
        let address = match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || address.is_unspecified() => Some(address),
            _ if host == "localhost" => None,
            _ => {
                return Err(format!(
                    "{host:?} in {text:?} is not this host; use localhost or a loopback address"
                ));
            }
        };
        let target = uri.path_and_query().map_or("/", |it| it.as_str()).to_string();
        Ok(Self {
            address,
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            target,
            authority: authority.to_string(),
            is_tls,
        })
    }
}

/// The crate accepts any number as a port, and then says that there is none.
fn has_wrong_port(authority: &http::uri::Authority) -> bool {
    let after_host = &authority.as_str()[authority.host().len()..];
    authority.port_u16() == Some(0) || !after_host.is_empty() && authority.port_u16().is_none()
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_this_host() {
        let url: Url = "http://127.0.0.1:8000/health?x=1".parse().unwrap();
        assert_eq!((url.address, url.port), (Some("127.0.0.1".parse().unwrap()), 8000));
        assert_eq!(url.to_string(), "http://127.0.0.1:8000/health?x=1");
        assert_eq!("http://[::1]:5173".parse::<Url>().unwrap().address, Some("::1".parse().unwrap()));
        assert_eq!("http://localhost".parse::<Url>().unwrap().port, 80);
        let url: Url = "https://localhost/health".parse().unwrap();
        assert_eq!((url.port, url.to_string()), (443, "https://localhost/health".into()));
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "https://example.org/",
            "ftp://127.0.0.1/",
            "127.0.0.1:80",
            "http://example.org/",
            "http://8.8.8.8/",
            "http://[2001:db8::1]:80/",
            "http://u@127.0.0.1/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:80000/",
            "http://[::1]:65536",
            "http://localhost:/",
            "https://localhost:x/",
            "",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
