//! The steps of a plan, carried out on what there is when their time comes.

use parlance_shared::conversation::call::{
    ActOn, AddMembers, ChangeRole, Create, CreateKind, Delete, ListEvents, RemoveMember,
    UpdateConversation,
};
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::protocol::act::Act;
use parlance_shared::protocol::conversation::{Role, SettingsPatch};
use parlance_shared::protocol::group::ConversationPatch;
use parlance_shared::protocol::seq::Seq;
use parlance_shared::protocol::user::ProfilePatch;
use parlance_shared::user::call::{
    Block, ForgetConversation, HideMessage, ListConversations, MarkRead, UpdateProfile,
    UpdateSettings,
};
use serde_json::json;
use std::time::Duration;

use crate::client::{Draft, Purpose};
use crate::objects::ObjectId;
use crate::plan::{ActKind, Fault, Kind, Way, What};
use crate::world::{Happening, World};

/// Who acts where.
struct Scene {
    device: usize,
    user: UserId,
    place: ConversationId,
}

impl World {
    fn device(&self, by: u8) -> usize {
        usize::from(by) % self.devices.len().max(1)
    }

    fn user(&self, whom: u8) -> UserId {
        let users = &self.oracle.users;
        users[usize::from(whom) % users.len()]
    }

    /// The conversation: mostly one that the device knows.
    fn scene(&self, by: u8, place: u8) -> Option<Scene> {
        let device = self.device(by);
        let views: Vec<_> = self.devices[device].views.keys().copied().collect();
        let places = if place < 230 && !views.is_empty() {
            &views
        } else {
            &self.oracle.places
        };
        let place = *places.get(usize::from(place) % places.len().max(1))?;
        let user = self.devices[device].user;
        Some(Scene {
            device,
            user,
            place,
        })
    }

    /// The object: a conversation or a user.
    fn object(&self, number: u8) -> ObjectId {
        let (places, users) = (&self.oracle.places, &self.oracle.users);
        let number = usize::from(number) % (places.len() + users.len());
        match places.get(number) {
            Some(place) => ObjectId::Conversation(*place),
            None => ObjectId::User(users[number - places.len()]),
        }
    }

    /// Carries a step out.
    pub(crate) fn step(&mut self, number: usize) {
        let Some(step) = self.plan.steps.get(number).copied() else {
            return;
        };
        self.note(|| format!("--- {:?}", step.what));
        let none = self.act(step.what).is_none();
        if none {
            self.note(|| "    nothing to do it with".to_owned());
        }
    }

    fn act(&mut self, what: What) -> Option<()> {
        match what {
            What::Direct { by, whom } => self.make_direct(by, whom)?,
            What::Group { by, members } => self.make_group(by, members)?,
            What::Send {
                by,
                place,
                way,
                count,
                kind,
            } => {
                let scene = self.scene(by, place)?;
                for _ in 0..count {
                    self.write(&scene, way, kind, None);
                }
            }
            What::Repeat { by, way, pick } => {
                let device = self.device(by);
                self.repeat(device, way, usize::from(pick))?;
            }
            What::Schedule {
                by,
                place,
                way,
                count,
                seconds,
            } => {
                let scene = self.scene(by, place)?;
                for _ in 0..count {
                    self.write(&scene, way, Kind::Plain, Some(u64::from(seconds)));
                }
            }
            What::Read {
                by,
                place,
                way,
                back,
            } => {
                let scene = self.scene(by, place)?;
                self.read(&scene, way, u64::from(back))?;
            }
            What::Act {
                by,
                place,
                way,
                pick,
                act,
            } => {
                let scene = self.scene(by, place)?;
                self.do_with(&scene, way, usize::from(pick), act)?;
            }
            What::Connect { by } => {
                let device = self.device(by);
                self.devices[device].wants_session = true;
                if self.devices[device].session.is_none() {
                    self.open_session(device);
                }
            }
            What::Disconnect { by } => {
                let device = self.device(by);
                self.disconnect(device);
            }
            What::Break { by } => {
                let device = self.device(by);
                let wire = self.devices[device].session?;
                self.counts.add("fault", "session broken");
                self.break_wire(wire);
                self.session_ended(device);
            }
            What::Enter { by, place } => {
                let scene = self.scene(by, place)?;
                self.enter(scene.device, scene.place);
            }
            What::Leave { by, place } => {
                let scene = self.scene(by, place)?;
                self.leave_room(scene.device, scene.place);
            }
            What::BreakRoom { by, place } => {
                let scene = self.scene(by, place)?;
                self.break_room(scene.device, scene.place)?;
            }
            What::Fault(fault) => self.fault(fault),
            other => return self.administer(other),
        }
        Some(())
    }

    fn make_direct(&mut self, by: u8, whom: u8) -> Option<()> {
        let device = self.device(by);
        let (creator, peer) = (self.devices[device].user, self.user(whom));
        if creator == peer {
            return None;
        }
        let conversation_id = ConversationId::direct(creator, peer);
        self.oracle.direct(conversation_id, creator, peer);
        let kind = CreateKind::Direct { peer };
        self.create(device, conversation_id, kind, Vec::new());
        Some(())
    }

    fn make_group(&mut self, by: u8, members: u16) -> Option<()> {
        if self.oracle.places.len() >= 8 {
            return None;
        }
        let device = self.device(by);
        let creator = self.devices[device].user;
        let members: Vec<_> = self
            .oracle
            .users
            .iter()
            .enumerate()
            .filter(|(number, user)| (members >> (number % 16)) & 1 == 1 && **user != creator)
            .map(|(_, user)| *user)
            .collect();
        let conversation_id = ConversationId::random(&self.dice);
        self.oracle.places.push(conversation_id);
        let kind = CreateKind::Group {
            name: Some("a group".to_owned()),
            description: None,
            members: members.clone(),
        };
        self.create(device, conversation_id, kind, members);
        Some(())
    }

    fn create(
        &mut self,
        device: usize,
        conversation_id: ConversationId,
        kind: CreateKind,
        asked: Vec<UserId>,
    ) {
        let create = Create {
            conversation_id,
            creator: self.devices[device].user,
            kind,
            encrypted: false,
        };
        let request = parlance_shared::conversation::call::ConversationRequest::from(create);
        let body = serde_json::to_string(&request).expect("a request");
        let to = ObjectId::Conversation(conversation_id);
        let purpose = Purpose::Create(to, body.clone(), 5);
        self.admit(device, asked, Box::new((to, body, purpose)));
    }

    fn write(&mut self, scene: &Scene, way: Way, kind: Kind, later: Option<u64>) {
        let view = self.devices[scene.device].views.get(&scene.place);
        let newest = view.and_then(|view| view.messages.last());
        let newest = newest.map(|(_, id, _)| *id);
        let log = self.oracle.logs.get(&scene.place);
        let mentions = match (kind, log) {
            (Kind::Mention, Some(log)) => log.members(),
            _ => Vec::new(),
        };
        let number = self.name();
        let draft = Draft {
            place: scene.place,
            content: format!("message {number}"),
            reply_to: newest.filter(|_| kind == Kind::Reply),
            thread_root: newest.filter(|_| kind == Kind::InThread),
            mentions,
            is_repeat: false,
            send_at: later.map(|seconds| self.time() + Duration::from_secs(seconds)),
            way,
            tries: 0,
        };
        self.draft(scene.device, draft);
    }

    fn read(&mut self, scene: &Scene, way: Way, back: u64) -> Option<()> {
        let view = self.devices[scene.device].views.get(&scene.place)?;
        let upto = view.upto?.saturating_sub(back).max(view.base);
        self.oracle.has_read(scene.user, scene.place, upto);
        let frame = json!({
            "type": "read_receipt", "conversation_id": scene.place, "up_to_seq": upto
        });
        if !self.say(scene.device, scene.place, way, frame) {
            let read = MarkRead {
                device_id: self.devices[scene.device].id,
                conversation_id: scene.place,
                up_to_seq: Seq::new(upto),
            };
            self.ask_self(scene.device, read, Purpose::Other);
        }
        Some(())
    }

    fn do_with(&mut self, scene: &Scene, way: Way, pick: usize, act: ActKind) -> Option<()> {
        let view = self.devices[scene.device].views.get(&scene.place)?;
        // One's own, for what only an author does; anyone's is tried now and then.
        let own = matches!(act, ActKind::Edit | ActKind::Delete) && pick != 3;
        let mut messages = view
            .messages
            .iter()
            .rev()
            .filter(|(_, _, sender)| !own || *sender == scene.user);
        let (_, message_id, _) = *messages.nth(pick).or_else(|| view.messages.first())?;
        let mut frame = json!({ "conversation_id": scene.place, "message_id": message_id });
        let (kind, act) = match act {
            ActKind::Edit => {
                frame["content"] = json!("edited");
                let edit = Act::Edit {
                    content: "edited".to_owned(),
                    mentions: None,
                };
                ("edit_message", Some(edit))
            }
            ActKind::Delete => {
                frame["for"] = json!("everyone");
                ("delete_message", Some(Act::Delete))
            }
            ActKind::Hide => {
                frame["for"] = json!("me");
                ("delete_message", None)
            }
            ActKind::React | ActKind::Unreact => {
                let remove = act == ActKind::Unreact;
                frame["emoji"] = json!("👍");
                frame["remove"] = json!(remove);
                let emoji = "👍".to_owned();
                ("react", Some(Act::React { emoji, remove }))
            }
            ActKind::Pin => {
                let remove = pick % 2 == 1;
                frame["remove"] = json!(remove);
                ("pin", Some(Act::Pin { remove }))
            }
        };
        frame["type"] = json!(kind);
        if self.say(scene.device, scene.place, way, frame) {
            return Some(());
        }
        match act {
            Some(act) => {
                let on = ActOn {
                    actor: scene.user,
                    message_id,
                    act,
                };
                self.ask_place(scene.device, scene.place, on, Purpose::Other);
            }
            None => {
                let hide = HideMessage {
                    device_id: self.devices[scene.device].id,
                    conversation_id: scene.place,
                    message_id,
                };
                self.ask_self(scene.device, hide, Purpose::Other);
            }
        }
        Some(())
    }

    /// What is done with a group, and with one's own list: over HTTP.
    fn administer(&mut self, what: What) -> Option<()> {
        let other = Purpose::Other;
        match what {
            What::Add { by, place, whom } => {
                let scene = self.scene(by, place)?;
                let user_ids = vec![self.user(whom)];
                let add = AddMembers {
                    actor: scene.user,
                    user_ids: user_ids.clone(),
                };
                let request = parlance_shared::conversation::call::ConversationRequest::from(add);
                let body = serde_json::to_string(&request).expect("a request");
                let to = ObjectId::Conversation(scene.place);
                self.admit(scene.device, user_ids, Box::new((to, body, other)));
            }
            What::Remove { by, place, whom } => {
                let scene = self.scene(by, place)?;
                let remove = RemoveMember {
                    actor: scene.user,
                    user_id: self.user(whom),
                };
                self.ask_place(scene.device, scene.place, remove, other);
            }
            What::Quit { by, place } => {
                let scene = self.scene(by, place)?;
                let remove = RemoveMember {
                    actor: scene.user,
                    user_id: scene.user,
                };
                self.ask_place(scene.device, scene.place, remove, other);
            }
            What::Role {
                by,
                place,
                whom,
                role,
            } => {
                let scene = self.scene(by, place)?;
                let change = ChangeRole {
                    actor: scene.user,
                    user_id: self.user(whom),
                    role: [Role::Admin, Role::Member, Role::Owner][usize::from(role) % 3],
                };
                self.ask_place(scene.device, scene.place, change, other);
            }
            What::Rename { by, place } => {
                let scene = self.scene(by, place)?;
                let name = format!("group {}", self.name());
                let patch = ConversationPatch {
                    name: Some(Some(name)),
                    ..ConversationPatch::default()
                };
                let update = UpdateConversation {
                    actor: scene.user,
                    patch,
                };
                self.ask_place(scene.device, scene.place, update, other);
            }
            What::Expire { by, place, on } => {
                let scene = self.scene(by, place)?;
                let patch = ConversationPatch {
                    expires_after: Some(on.then_some(3600)),
                    ..ConversationPatch::default()
                };
                let update = UpdateConversation {
                    actor: scene.user,
                    patch,
                };
                self.ask_place(scene.device, scene.place, update, other);
            }
            What::End { by, place } => {
                let scene = self.scene(by, place)?;
                let end = Delete { actor: scene.user };
                self.ask_place(scene.device, scene.place, end, other);
            }
            What::Fetch { by, place, back } => {
                let scene = self.scene(by, place)?;
                let view = self.devices[scene.device].views.get(&scene.place);
                let upto = view.and_then(|view| view.upto).unwrap_or(0);
                let events = ListEvents {
                    actor: scene.user,
                    after_seq: Seq::new(upto.saturating_sub(u64::from(back))),
                    limit: 200,
                };
                self.ask_place(
                    scene.device,
                    scene.place,
                    events,
                    Purpose::Fetch(scene.place),
                );
            }
            other => return self.arrange(other),
        }
        Some(())
    }

    fn arrange(&mut self, what: What) -> Option<()> {
        let other = Purpose::Other;
        match what {
            What::Archive { by, place, on } => {
                let scene = self.scene(by, place)?;
                let patch = SettingsPatch {
                    archived: Some(on),
                    ..SettingsPatch::default()
                };
                let update = UpdateSettings {
                    device_id: self.devices[scene.device].id,
                    conversation_id: scene.place,
                    patch,
                };
                self.ask_self(scene.device, update, other);
            }
            What::Forget { by, place } => {
                let scene = self.scene(by, place)?;
                let forget = ForgetConversation {
                    device_id: self.devices[scene.device].id,
                    conversation_id: scene.place,
                };
                self.ask_self(scene.device, forget, other);
            }
            What::Block { by, whom, on } => {
                let device = self.device(by);
                let (user, peer) = (self.devices[device].user, self.user(whom));
                let wish = self.oracle.block_wished(user, peer, on);
                let block = Block {
                    device_id: self.devices[device].id,
                    user_id: peer,
                    is_blocked: on,
                };
                let purpose = Purpose::Block { peer, wish };
                self.ask_self(device, block, purpose);
            }
            What::Receipts { by, on } => {
                let device = self.device(by);
                let patch: ProfilePatch =
                    serde_json::from_value(json!({ "privacy": { "read_receipts": on } })).ok()?;
                let update = UpdateProfile {
                    device_id: self.devices[device].id,
                    patch,
                };
                self.ask_self(device, update, other);
            }
            What::List { by } => {
                let device = self.device(by);
                let list = ListConversations {
                    device_id: self.devices[device].id,
                    cursor: None,
                    limit: 100,
                    archived: false,
                };
                self.ask_self(device, list, Purpose::List);
            }
            _ => return None,
        }
        Some(())
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { object, loses } => {
                let id = self.object(object);
                self.crash(id, loses);
            }
            Fault::Amnesia { object } => {
                let id = self.object(object);
                self.amnesia(id);
            }
            Fault::Sleep { object } => {
                let id = self.object(object);
                self.sleep(id);
            }
            Fault::Disk {
                object,
                after,
                times,
            } => {
                let id = self.object(object);
                if let Some(one) = self.objects.get(&id) {
                    one.disk.fail_after(u64::from(after), u64::from(times));
                    self.counts.add("fault", "storage fails");
                }
            }
            Fault::Cut { object, tenths } => {
                let id = self.object(object);
                self.counts.add("fault", "object cut off");
                self.cut.insert(id, self.now);
                self.after(u64::from(tenths) * 100, Happening::Mend(id));
            }
            Fault::Skew { object, tenths } => {
                let id = self.object(object);
                if let Some(one) = self.objects.get_mut(&id) {
                    one.skew = i64::from(tenths) * 100;
                    self.counts.add("fault", "clock moved");
                    self.oracle.clock_moved(id);
                }
            }
            Fault::Jump { minutes } => {
                self.counts.add("fault", "time leaps");
                self.jump(u64::from(minutes) * 60_000);
            }
        }
    }
}
