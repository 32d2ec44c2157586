//! Calls that objects make to objects.

use js_sys::JsString;
use parlance_shared::ids::UserId;
use parlance_shared::object::{Call, ObjectClass};
use parlance_shared::protocol::seq::Seq;
use parlance_shared::user::call::{AttachedDevice, Delivered, UserObject};
use worker::Env;

use crate::stub::{self, CallFailure};

/// Asks a user object.
///
/// # Errors
/// See [`CallFailure`].
pub async fn user<C: Call<UserObject>>(
    env: &Env,
    id: UserId,
    call: C,
) -> Result<C::Reply, CallFailure> {
    stub::call(env, &id, call).await
}

/// News from a conversation, written once for all the users who get the same: what differs is the
/// recipient's id, from where on it may have what there is, and which of its devices have it from
/// the conversation.
#[derive(Debug, Clone)]
pub struct Delivery {
    alike: JsString,
}

impl Delivery {
    /// The delivery of `events` (a JSON array of events) from `conversation` (a
    /// `ConversationSummary` in JSON).
    #[must_use]
    pub fn new(conversation: &str, events: &str) -> Self {
        Self {
            alike: JsString::from(alike(conversation, events)),
        }
    }

    /// Hands it to a user, who may have what comes from `visible_from` on, and whose `attached`
    /// devices have it already.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn to(
        &self,
        env: &Env,
        id: UserId,
        visible_from: Seq,
        attached: &[AttachedDevice],
    ) -> Result<Delivered, CallFailure> {
        // Joined in JavaScript, which does not copy the events to do so.
        let devices = devices(attached).map_err(CallFailure::impossible)?;
        let body = JsString::from(up_to_id(id, visible_from))
            .concat(&self.alike)
            .concat(&JsString::from(devices));
        let name = UserObject::object_name(&id);
        let answer = stub::call_raw(env, UserObject::BINDING, &name, &body).await?;
        stub::read_answer(&answer)
    }
}

fn up_to_id(id: UserId, visible_from: Seq) -> String {
    format!(r#"{{"deliver":{{"user_id":"{id}","visible_from":{visible_from}"#)
}

fn alike(conversation: &str, events: &str) -> String {
    format!(r#","conversation":{conversation},"events":{events}"#)
}

fn devices(attached: &[AttachedDevice]) -> serde_json::Result<String> {
    if attached.is_empty() {
        return Ok("}}".to_owned());
    }
    let written = serde_json::to_string(attached)?;
    Ok(format!(r#","attached_devices":{written}}}}}"#))
}

#[cfg(test)]
mod tests {
    use parlance_shared::protocol::conversation::ConversationType;
    use parlance_shared::time::Timestamp;
    use parlance_shared::user::call::{ConversationSummary, Deliver, UserRequest};

    use super::*;

    #[test]
    fn a_delivery_written_in_parts_is_the_request_itself() {
        let id: UserId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let conversation = ConversationSummary {
            conversation_id: "00000000-0000-4000-8000-000000000002".parse().unwrap(),
            kind: ConversationType::Direct,
            name: Some("a \"name\"".to_owned()),
            avatar_url: None,
            direct_members: vec![id],
            member_count: 2,
            created_at: Timestamp::from_millis(0),
        };
        let device = AttachedDevice {
            device_id: "00000000-0000-4000-8000-000000000003".parse().unwrap(),
            heard_at: Timestamp::from_millis(1),
        };
        for attached_devices in [Vec::new(), vec![device], vec![device, device]] {
            let request = UserRequest::from(Deliver {
                user_id: id,
                visible_from: Seq::new(17),
                conversation: conversation.clone(),
                events: Vec::new(),
                attached_devices: attached_devices.clone(),
            });
            let conversation = serde_json::to_string(&conversation).unwrap();
            assert_eq!(
                up_to_id(id, Seq::new(17))
                    + &alike(&conversation, "[]")
                    + &devices(&attached_devices).unwrap(),
                serde_json::to_string(&request).unwrap()
            );
        }
    }
}
