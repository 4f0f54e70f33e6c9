use std::fmt;

/// Who asked for a change: the credentials the kernel reports for the other end of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// Absent when the caller's pid namespace cannot be seen from here.
    pub pid: Option<i32>,
    /// Name of `uid`, when the host knows one.
    pub user: Option<String>,
}

impl Caller {
    /// The daemon itself, on behalf of a signal that it was sent. Signals do not say who sent them.
    pub fn signal() -> Self {
        Self {
            uid: 0,
            gid: 0,
            pid: None,
            user: Some("signal".to_owned()),
        }
    }
}

impl fmt::Display for Caller {
    /// `root (uid 0, gid 0, pid 4711)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().unwrap_or("?");
        write!(f, "{user} (uid {}, gid {}", self.uid, self.gid)?;
        match self.pid {
            Some(pid) => write!(f, ", pid {pid})"),
            None => f.write_str(")"),
        }
    }
}
