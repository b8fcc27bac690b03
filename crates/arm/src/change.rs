//! Read, decide, commit; and again when someone else was faster.
//!
//! ```text
//! let mut turns = Turns::new(permit);
//! loop {
//!     let decided = decide(turns.permit()?).await;
//!     if let Some((receipt, answer)) = turns.settle(decided).await? { break }
//! }
//! ```

use base::{Error, Kind, Result};
use trust::{Access, Batch, Outcome, Permit, Receipt, Write};

/// More rounds than this mean a defect or a storm: the client is asked to try again.
const ROUNDS_MAX: usize = 16;

/// What a handler decided to write, and what it will answer.
pub(crate) struct Change<T> {
    /// `None`: nothing to write.
    pub batch: Option<Batch>,
    pub status: u16,
    pub answer: T,
}

/// A write permit between rounds.
pub(crate) struct Turns {
    permit: Option<Permit<Write>>,
    rounds: usize,
}

impl Turns {
    pub(crate) fn new(permit: Permit<Write>) -> Turns {
        Turns { permit: Some(permit), rounds: 0 }
    }
    pub(crate) fn permit(&self) -> Result<&Permit<Write>> {
        self.permit.as_ref().ok_or_else(|| Error::internal("a settled permit is used again"))
    }
    /// Commits what was decided. `None`: someone else committed first; decide again. Every way out is recorded.
    pub(crate) async fn settle<T>(&mut self, decided: Result<Change<T>>) -> Result<Option<(Receipt, T)>> {
        let permit = self.permit.take().ok_or_else(|| Error::internal("a settled permit is used again"))?;
        let Change { batch, status, answer } = match decided {
            Ok(change) => change,
            Err(error) => return refuse(permit, error).await,
        };
        let Some(batch) = batch else {
            return Ok(Some((permit.close(Outcome::done(status)).await?, answer)));
        };
        let failed = match permit.commit(batch, Outcome::done(status)).await {
            Ok(receipt) => return Ok(Some((receipt, answer))),
            Err(failed) => failed,
        };
        self.rounds += 1;
        match failed.permit {
            Some(permit) if self.rounds >= ROUNDS_MAX => {
                refuse(permit, Error::new(Kind::Conflict, "Conflict", "Other requests keep changing this resource. Try again.")).await
            }
            Some(permit) => {
                self.permit = Some(permit);
                Ok(None)
            }
            None => Err(failed.error),
        }
    }
}

/// Closes the permit as failed, then gives the error back.
pub(crate) async fn refuse<A: Access, T>(permit: Permit<A>, error: Error) -> Result<T> {
    permit.close(Outcome::failed(&error)).await?;
    Err(error)
}

/// Closes a permit that only read.
pub(crate) async fn close<A: Access, T>(permit: Permit<A>, found: Result<T>) -> Result<(Receipt, T)> {
    match found {
        Ok(value) => Ok((permit.close(Outcome::done(200)).await?, value)),
        Err(error) => refuse(permit, error).await,
    }
}
