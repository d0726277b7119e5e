//! The answer to a watch, divided into events.

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use portolan_core::Encoding;

/// Bytes of the longest event: client-go's limit. etcd takes no object of more than 1.5 MiB.
const LONGEST: u32 = 16 << 20;

/// The events of a watch, not yet decoded: lines of JSON, or protobuf with its length before it.
pub(super) struct Events<R> {
    stream: R,
    pub(super) encoding: Encoding,
}

/// Why the next event cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke: {0}")]
    Read(std::io::Error),
    #[error("the connection ended in the middle of an event")]
    Cut,
    #[error("an event is longer than {} MiB", LONGEST >> 20)]
    TooLong,
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Read(error),
        }
    }
}

impl<R: AsyncBufRead + Unpin> Events<R> {
    pub(super) fn new(stream: R, encoding: Encoding) -> Self {
        Self { stream, encoding }
    }

    /// The next event; `None` at the end. Each has memory of its own, so that a watch that is idle keeps none.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.stream.fill_buf().await?.is_empty() {
            return Ok(None);
        }
        let event = match self.encoding {
            Encoding::Json => self.line().await?,
            Encoding::Protobuf => self.counted().await?,
        };
        Ok(Some(event.into()))
    }

    async fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST.into()).read_until(b'\n', &mut line).await?;
        match line.last() {
            Some(b'\n') => Ok(line),
            _ if line.len() >= LONGEST as usize => Err(Broken::TooLong),
            _ => Err(Broken::Cut),
        }
    }

    async fn counted(&mut self) -> Result<Vec<u8>, Broken> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST {
            return Err(Broken::TooLong);
        }
        let mut event = vec![0; length as usize];
        self.stream.read_exact(&mut event).await?;
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every event of a stream, and how it ended.
    async fn read(encoding: Encoding, stream: &[u8]) -> (Vec<Bytes>, Result<(), Broken>) {
        let mut events = Events::new(futures::io::Cursor::new(stream), encoding);
        let mut all = Vec::new();
        loop {
            match events.next().await {
                Ok(Some(event)) => all.push(event),
                Ok(None) => return (all, Ok(())),
                Err(broken) => return (all, Err(broken)),
            }
        }
    }

    #[tokio::test]
    async fn lines_and_counted_events() {
        let (events, end) = read(Encoding::Json, b"{}\n[]\n").await;
        assert!(end.is_ok());
        assert_eq!(events, ["{}\n", "[]\n"]);
        let (events, end) = read(Encoding::Protobuf, b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c").await;
        assert!(end.is_ok());
        assert_eq!(events, ["ab", "", "c"]);
    }

    #[tokio::test]
    async fn what_ends_in_the_middle_is_no_event() {
        for (encoding, stream) in [
            (Encoding::Json, b"{}\n{" as &[u8]),
            (Encoding::Protobuf, b"\0\0\0\x02{}\0\0\0\x02{"),
            (Encoding::Protobuf, b"\0\0\0\x02{}\0\0\0"),
        ] {
            let (events, end) = read(encoding, stream).await;
            assert_eq!(events.len(), 1);
            assert!(matches!(end, Err(Broken::Cut)), "{end:?}");
        }
    }

    #[tokio::test]
    async fn an_event_has_a_longest_length() {
        let longest = LONGEST as usize;
        let line = |length: usize| [vec![b' '; length - 1], vec![b'\n']].concat();
        let counted = |length: usize| {
            let head = u32::try_from(length).unwrap().to_be_bytes().to_vec();
            [head, vec![0; length]].concat()
        };
        for (encoding, fits, does_not) in [
            (Encoding::Json, line(longest), line(longest + 1)),
            (Encoding::Protobuf, counted(longest), counted(longest + 1)),
        ] {
            let (events, end) = read(encoding, &fits).await;
            assert!(end.is_ok() && events[0].len() == longest, "{encoding:?}");
            let (events, end) = read(encoding, &does_not).await;
            assert!(events.is_empty() && matches!(end, Err(Broken::TooLong)), "{encoding:?}: {end:?}");
        }
    }
}
