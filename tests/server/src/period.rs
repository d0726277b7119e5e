//! How long a client goes on.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args, Clone)]
pub(crate) struct Period {
    /// How long, at most.
    #[arg(long, default_value = "10s", value_parser = crate::span::parse)]
    duration: Duration,
    /// Ends before that when its standard input does.
    #[arg(long)]
    until_input_ends: bool,
}

impl Period {
    /// Begins now.
    pub(crate) fn begin(&self) -> End {
        let end = End { latest: Instant::now() + self.duration, said: Arc::default() };
        if self.until_input_ends {
            let said = end.said.clone();
            // A thread of its own: at the end of the program nobody waits for it.
            std::thread::spawn(move || {
                let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
                said.store(true, Ordering::Relaxed);
            });
        }
        end
    }
}

/// The end of a period.
#[derive(Clone)]
pub(crate) struct End {
    latest: Instant,
    said: Arc<AtomicBool>,
}

impl End {
    pub(crate) fn reached(&self) -> bool {
        Instant::now() >= self.latest || self.said.load(Ordering::Relaxed)
    }
}
