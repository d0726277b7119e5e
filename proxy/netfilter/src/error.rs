//! What can go wrong.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::wire::Malformed;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The netlink socket could not be opened.
    #[error("cannot open a netfilter netlink socket")]
    Open(#[source] io::Error),
    /// The request could not be handed to the kernel.
    #[error("cannot send {bytes} bytes over netlink")]
    Send {
        /// Length of the request.
        bytes: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer could not be read.
    #[error("cannot receive over netlink")]
    Receive(#[source] io::Error),
    /// The kernel's answer is not what its headers say.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An operation does not fit into a netlink message.
    #[error("operation {index} of the batch does not fit into a netlink message: {operation}")]
    TooLong {
        /// Its index in the batch.
        index: usize,
        /// What it was.
        operation: String,
    },
    /// The kernel refused a batch; nothing of it was done.
    #[error("{}", Refused(failures))]
    Rejected {
        /// What it refused, at least one. The kernel goes on checking after the first, so that later
        /// failures may be consequences of earlier ones.
        failures: Vec<Failure>,
    },
    /// The kernel refused a question.
    #[error("cannot {request}: {}", Reason(*errno, message.as_deref()))]
    Refused {
        /// What was asked.
        request: &'static str,
        /// The kernel's error number.
        errno: Errno,
        /// The kernel's own words, if it had any.
        message: Option<String>,
    },
    /// What was read kept changing while it was read.
    #[error("the rules kept changing while they were read")]
    Unstable,
    /// The kernel did not answer: whether a batch was carried out is unknown.
    #[error("no answer over netlink")]
    NoAnswer,
}

/// Why the kernel refused a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Index of the operation, none if the batch as a whole was refused.
    pub index: Option<usize>,
    /// What it was, in one line.
    pub operation: String,
    /// Index of the element among those of the operation, if the kernel told.
    pub element: Option<usize>,
    /// The kernel's error number.
    pub errno: Errno,
    /// The kernel's own words, if it had any.
    pub message: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.operation)?;
        if let Some(element) = self.element {
            write!(f, " (element {element})")?;
        }
        write!(f, ": {}", Reason(self.errno, self.message.as_deref()))
    }
}

/// Class of an error: what a caller decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// CAP_NET_ADMIN is missing, or the table is owned by another process.
    NotPermitted,
    /// The kernel does not know how.
    NotSupported,
    /// It exists already, or with other properties.
    Exists,
    /// It, or something it refers to, does not exist.
    Missing,
    /// It is in use.
    Busy,
    /// Something changed in between; read again and retry.
    Changed,
    /// A set is full, or memory is short.
    Exhausted,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The class of an error number of nf_tables or conntrack.
    #[must_use]
    pub const fn of(errno: Errno) -> Self {
        match errno {
            Errno::EPERM | Errno::EACCES => Self::NotPermitted,
            Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT | Errno::ENOPROTOOPT => {
                Self::NotSupported
            }
            Errno::EEXIST => Self::Exists,
            Errno::ENOENT => Self::Missing,
            Errno::EBUSY => Self::Busy,
            Errno::EINTR | Errno::EAGAIN | ERESTART => Self::Changed,
            Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::ENOSPC => Self::Exhausted,
            _ => Self::Other,
        }
    }

    /// A short name for metrics and events.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::NotSupported => "not_supported",
            Self::Exists => "exists",
            Self::Missing => "missing",
            Self::Busy => "busy",
            Self::Changed => "changed",
            Self::Exhausted => "exhausted",
            Self::Other => "other",
        }
    }
}

/// What a batch for another generation is refused with.
const ERESTART: Errno = Errno::ERESTART;

impl Error {
    /// The class of the error; of the first failure for a batch.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(error) | Self::Receive(error) | Self::Send { source: error, .. } => {
                error.raw_os_error().map_or(ErrorKind::Other, |code| ErrorKind::of(Errno::from_raw(code)))
            }
            Self::Rejected { failures } => {
                failures.first().map_or(ErrorKind::Other, |failure| ErrorKind::of(failure.errno))
            }
            Self::Refused { errno, .. } => ErrorKind::of(*errno),
            Self::Unstable => ErrorKind::Changed,
            Self::Malformed(_) | Self::TooLong { .. } | Self::NoAnswer => ErrorKind::Other,
        }
    }

    /// What the kernel refused of a batch.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        match self {
            Self::Rejected { failures } => failures,
            _ => &[],
        }
    }
}

/// The first failure and the number of others, in one line.
struct Refused<'a>(&'a [Failure]);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("the batch was refused"),
            [single] => single.fmt(f),
            [first, others @ ..] => write!(f, "{first} (and {} more failures)", others.len()),
        }
    }
}

/// An error number with the kernel's own words.
struct Reason<'a>(Errno, Option<&'a str>);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(message) => write!(f, "{} ({}): {message}", self.0.desc(), self.0 as i32),
            None => write!(f, "{} ({})", self.0.desc(), self.0 as i32),
        }
    }
}
