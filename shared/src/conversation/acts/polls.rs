//! Voting in a poll, and ending it.

use super::{Scene, Verdict, forbidden};
use crate::conversation::history;
use crate::conversation::store::Store;
use crate::protocol::change::{MessageChange, PollClosed, PollVoted};
use crate::protocol::content::Poll;
use crate::protocol::message::ContentType;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::Sql;

impl Scene {
    fn poll<S: Sql>(&self, store: &Store<'_, S>) -> Result<Poll, ServiceError> {
        self.require_content()?;
        let said = store.said(self.target.seq)?;
        if said.content_type == ContentType::Poll {
            Ok(Poll::read(&said.content)?)
        } else {
            Err(Problem::invalid_field("message_id", "is not a poll").into())
        }
    }

    pub(super) fn vote<'a, S: Sql>(
        &'a self,
        store: &Store<'_, S>,
        options: &[u8],
    ) -> Result<Verdict<'a, S>, ServiceError> {
        let poll = self.poll(store)?;
        poll.check_vote(options)?;
        let target = &self.target;
        let actor = self.actor();
        let bits = history::bits_of(options);
        match store.voted(target.seq, &actor)? {
            Some((known, seq)) if known == bits => return Ok(Verdict::Already(seq)),
            None if bits == 0 => return Err(Problem::not_found("vote").into()),
            _ => {}
        }
        if target.closed_seq.is_some() {
            return Err(Problem::new(Code::Conflict, "The poll is closed.").into());
        }
        let change = MessageChange::PollVote(PollVoted {
            conversation_id: self.conversation_id,
            seq: self.seq,
            message_id: target.message_id,
            user_id: actor,
            options: history::options_of(bits),
            created_at: self.at,
        });
        Ok(Verdict::Becomes(
            change,
            Box::new(move |store| store.save_vote(target.seq, &actor, bits, self.seq)),
        ))
    }

    pub(super) fn close_poll<'a, S: Sql>(
        &'a self,
        store: &Store<'_, S>,
    ) -> Result<Verdict<'a, S>, ServiceError> {
        self.poll(store)?;
        let target = &self.target;
        if !self.is_author() {
            return Err(forbidden("Only its author may close a poll.").into());
        }
        if let Some(seq) = target.closed_seq {
            return Ok(Verdict::Already(seq));
        }
        let change = MessageChange::PollClosed(PollClosed {
            conversation_id: self.conversation_id,
            seq: self.seq,
            message_id: target.message_id,
            closed_by: self.actor(),
            created_at: self.at,
        });
        Ok(Verdict::Becomes(
            change,
            Box::new(|store| store.save_closing(target.seq, self.seq)),
        ))
    }
}
