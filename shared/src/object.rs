//! How a caller reaches an object: which class, by what name, with what request.
//!
//! Each class says once what it is bound as and how its objects are named; the caller and the
//! object use the same enum of requests. Every request is a struct that knows its reply, so a
//! caller cannot read an answer as something else.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::SqlError;

/// A class of objects, each the only writer of its own storage.
pub trait ObjectClass {
    /// The binding of the class in the deployment (`wrangler.toml`).
    const BINDING: &'static str;
    /// What names one object of the class.
    type Name;
    /// All that an object of the class can be asked.
    type Request: Serialize + DeserializeOwned;

    /// The object's name as the runtime knows it.
    fn object_name(name: &Self::Name) -> String;
}

/// A request to an object of class `O`.
pub trait Call<O: ObjectClass>: Into<O::Request> {
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;
}

/// An object's answer as it travels: the reply, or the problem to tell the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<R> {
    /// It was done.
    Ok(R),
    /// It was refused.
    Problem(Problem),
}

impl<R> Answer<R> {
    /// The answer as a result.
    ///
    /// # Errors
    /// The problem, where it was refused.
    pub fn into_result(self) -> Result<R, Problem> {
        match self {
            Self::Ok(reply) => Ok(reply),
            Self::Problem(problem) => Err(problem),
        }
    }
}

impl<R> From<Result<R, Problem>> for Answer<R> {
    fn from(result: Result<R, Problem>) -> Self {
        match result {
            Ok(reply) => Self::Ok(reply),
            Err(problem) => Self::Problem(problem),
        }
    }
}

/// A reply as it travels within an [`Answer`].
///
/// # Errors
/// Never for the replies of this crate, which are plain data; told as `internal` otherwise.
pub fn reply_json(reply: &impl Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(reply)
        .map_err(|error| SqlError::Engine(format!("a reply did not serialize: {error}")).into())
}

/// Declares an object class's requests: for each a variant, and its reply.
macro_rules! requests {
    ($(#[$doc:meta])* $request:ident of $class:ident { $($(#[$variant_doc:meta])* $call:ident => $reply:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $request {
            $($(#[$variant_doc])* $call($call)),*
        }
        $(
            impl From<$call> for $request {
                fn from(call: $call) -> Self {
                    Self::$call(call)
                }
            }
            impl crate::object::Call<$class> for $call {
                type Reply = $reply;
            }
        )*
    };
}
pub(crate) use requests;
