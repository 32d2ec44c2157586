//! A conversation that sockets can be attached to, of either service.

use crate::api::{Api, Person};
use crate::failure::Outcome;
use crate::load::Door;
use crate::server::{Server, Subject};

/// A conversation, and a door for each of its members.
#[derive(Debug)]
pub struct Room {
    /// Its id.
    pub conversation: String,
    /// Where the members open their sockets.
    pub doors: Vec<Door>,
    /// The members; none of the reference, which knows no people.
    pub people: Vec<Person>,
}

/// The conversation's socket of a person.
pub fn door(server: &Server, conversation: &str, person: &Person) -> Outcome<Door> {
    let base = server.url()?.replacen("http", "ws", 1);
    Ok(Door {
        url: format!("{base}/api/v1/conversations/{conversation}/ws"),
        token: Some(person.token.clone()),
    })
}

/// The session socket of a person.
pub fn session_door(server: &Server, person: &Person) -> Outcome<Door> {
    let base = server.url()?.replacen("http", "ws", 1);
    Ok(Door {
        url: format!("{base}/api/v1/ws"),
        token: Some(person.token.clone()),
    })
}

impl Room {
    /// A new conversation of so many: a direct one of two, a group of more. Everyone's list shows
    /// it.
    pub async fn of(server: &Server, members: usize) -> Outcome<Self> {
        match server.subject() {
            Subject::Parlance => {
                let people = Api::of(server)?.sign_up_many(members).await?;
                Self::of_people(server, people).await
            }
            Subject::Reference => {
                let conversation = uuid::Uuid::new_v4().to_string();
                let base = server.url()?.replacen("http", "ws", 1);
                let doors = (0..members).map(|_| Door {
                    url: format!("{base}/{conversation}?user={}", uuid::Uuid::new_v4()),
                    token: None,
                });
                Ok(Self {
                    doors: doors.collect(),
                    conversation,
                    people: Vec::new(),
                })
            }
        }
    }

    /// A new conversation of these people.
    pub async fn of_people(server: &Server, people: Vec<Person>) -> Outcome<Self> {
        let api = Api::of(server)?;
        let conversation = match people.as_slice() {
            [one, other] => api.direct(one, other).await?,
            people => {
                let id = api.group(people).await?;
                api.until_listed(people, &id, 1).await?;
                id
            }
        };
        let doors = people
            .iter()
            .map(|person| door(server, &conversation, person))
            .collect::<Outcome<_>>()?;
        Ok(Self {
            conversation,
            doors,
            people,
        })
    }
}
