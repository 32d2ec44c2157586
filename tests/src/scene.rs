//! People and conversations to begin with. A [`Scene`] is one in which requests are refused, and from which it can be told that they changed
//! nothing.

use serde_json::{Value, json};

use crate::{User, eventually, server, uuid};

/// Two people with a direct conversation and a group, and somebody else.
#[derive(Debug)]
pub struct Scene {
    /// Made both conversations, and owns the group.
    pub owner: User,
    /// The other member of both.
    pub peer: User,
    /// A member of neither.
    pub stranger: User,
    /// The direct conversation.
    pub direct: String,
    /// The group.
    pub group: String,
}

impl Scene {
    /// Sets it, at the shared server, with one message in each conversation.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn set() -> Self {
        let [owner, peer, stranger] = User::sign_up_all(server::shared()).await;
        let direct = owner.direct(&peer).await;
        let group = owner.group("The scene", &[&peer]).await;
        owner.say(&direct, "before").await;
        owner.say(&group, "before").await;
        let scene = Self {
            owner,
            peer,
            stranger,
            direct,
            group,
        };
        for user in [&scene.owner, &scene.peer] {
            for conversation in [&scene.direct, &scene.group] {
                eventually("the list to show both conversations", async || {
                    user.item(conversation)
                        .await
                        .filter(|item| !item["last_msg"].is_null())
                })
                .await;
            }
        }
        scene
    }

    /// Everything that a refused request could have changed.
    ///
    /// # Panics
    /// When the server does not tell.
    pub async fn state(&self) -> Value {
        json!([
            self.owner.head_seq(&self.direct).await,
            self.owner.head_seq(&self.group).await,
            self.owner.list().await,
            self.peer.list().await,
            self.stranger.list().await,
            self.owner.api.get("/users/me").await.ok(200),
            self.owner
                .api
                .get(&format!("/conversations/{}", self.direct))
                .await
                .ok(200),
            self.owner
                .api
                .get(&format!("/conversations/{}/members", self.group))
                .await
                .ok(200),
        ])
    }

    /// Checks that the state is still this.
    ///
    /// # Panics
    /// When it is not.
    pub async fn unchanged_since(&self, before: &Value) {
        assert_eq!(
            &self.state().await,
            before,
            "refused requests change nothing"
        );
    }
}

/// A message that a member could send.
#[must_use]
pub fn message() -> Value {
    json!({"client_msg_id": uuid(), "content": "hello"})
}

/// Two new people at the shared server, and their direct conversation.
///
/// # Panics
/// When that does not work.
pub async fn pair() -> (User, User, String) {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    (ann, bob, id)
}
