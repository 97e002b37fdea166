//! The options of the door.

use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A password file is no longer than this, in bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// The heading of `--help`.
const DOOR: &str = "Door";

/// A door for programs that speak Redis' protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DoorArgs {
    /// Let Redis clients in at this port of this machine, or at ADDR:PORT; 0 is any free port.
    #[arg(long = "door", value_name = "[ADDR:]PORT", value_parser = address, conflicts_with = "sim")]
    #[arg(help_heading = DOOR)]
    pub address: Option<SocketAddr>,

    /// Clients of the door have to give the password in this file. Without it nobody is let in from other machines.
    #[arg(long, value_name = "FILE", requires = "address", help_heading = DOOR)]
    pub password_file: Option<PathBuf>,

    /// How many further ranks are doors, at the same address and port: connections are spread over all of them.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=8))]
    #[arg(conflicts_with = "sim", help_heading = DOOR)]
    pub doors: u32,
}

impl DoorArgs {
    /// Refuses a door that is open to everybody, and doors without an address.
    ///
    /// # Errors
    /// Why, and the way out.
    pub fn check(&self) -> Result<(), String> {
        match self.address {
            None if self.doors > 0 => Err(format!(
                "--doors {} adds doors to a first one, and there is none: give --door PORT as well",
                self.doors
            )),
            Some(address) if !address.ip().is_loopback() && self.password_file.is_none() => Err(format!(
                "a door at {address} can be reached from other machines, and anybody could read and delete everything: \
                 give --password-file FILE, or only the port ({})",
                address.port()
            )),
            _ => Ok(()),
        }
    }

    /// The password, if there is to be one.
    ///
    /// # Errors
    /// When there is none in the file, or no file.
    pub fn password(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = &self.password_file else { return Ok(None) };
        let text = std::fs::read(file).map_err(|error| format!("--password-file {}: {error}", file.display()))?;
        let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        match line.len() {
            0 => Err(format!("--password-file {}: its first line is empty: write the password there", file.display())),
            1..=PASSWORD_BYTES_MAX => Ok(Some(line.to_vec())),
            _ => Err(format!("--password-file {}: at most {PASSWORD_BYTES_MAX} bytes", file.display())),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(loopback, port));
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(loopback, port));
    }
    text.parse().map_err(|_| "give a port, such as 6379, or ADDRESS:PORT, such as 192.0.2.7:6379 or [::1]:6379".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_is_for_this_machine() {
        assert_eq!(address("6379").unwrap().to_string(), "127.0.0.1:6379");
        assert_eq!(address("localhost:7").unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(address("[::1]:7").unwrap().to_string(), "[::1]:7");
        assert!(["65536", "host:1", ":1", "", "1.2.3.4"].iter().all(|text| address(text).is_err()));
    }

    #[test]
    fn further_doors_need_a_first_one() {
        let why = DoorArgs { doors: 2, ..DoorArgs::default() }.check().unwrap_err();
        assert!(why.contains("--doors 2") && why.contains("give --door PORT"), "{why}");
    }

    #[test]
    fn who_can_be_reached_from_outside_needs_a_password() {
        let door = |address: &str, password_file: Option<&str>| DoorArgs {
            address: Some(super::address(address).unwrap()),
            password_file: password_file.map(PathBuf::from),
            doors: 0,
        };
        assert_eq!(door("6379", None).check(), Ok(()));
        assert_eq!(door("[::1]:6379", None).check(), Ok(()));
        assert_eq!(door("0.0.0.0:6379", Some("file")).check(), Ok(()));
        let why = door("0.0.0.0:6379", None).check().unwrap_err();
        assert!(why.contains("--password-file"), "{why}");
    }
}
