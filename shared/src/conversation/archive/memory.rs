//! An archive's store in memory, for native tests and simulations, which can be made to fail.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::{ArchiveReply, ArchiveStep, StorageClass};

/// What goes wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not taken.
    Refused,
    /// It is taken, and said not to be.
    AnswerLost,
    /// What is put is not what is stored; what is read is not what was stored.
    Damaged,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// How it is kept.
    pub class: StorageClass,
}

/// The objects, by their names.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: RefCell<BTreeMap<String, StoredObject>>,
    puts: Cell<usize>,
    gets: Cell<usize>,
}

impl MemoryStore {
    /// One without objects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What an object holds.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.gets.set(self.gets.get() + 1);
        let objects = self.objects.borrow();
        objects.get(name).map(|object| object.bytes.clone())
    }

    /// All objects.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        self.objects.borrow().clone()
    }

    /// Changes the objects behind the conversation's back.
    pub fn alter(&self, change: impl FnOnce(&mut BTreeMap<String, StoredObject>)) {
        change(&mut self.objects.borrow_mut());
    }

    /// How many objects were put, and read, since it was made.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.puts.get(), self.gets.get())
    }

    /// Takes a step, with a fault where there is to be one; none of [`ArchiveStep::Pause`].
    ///
    /// # Errors
    /// As the fault has it.
    pub fn take(
        &self,
        step: &ArchiveStep,
        fault: Option<Fault>,
    ) -> Result<Option<ArchiveReply>, String> {
        if fault == Some(Fault::Refused) && *step != ArchiveStep::Pause {
            return Err("refused".to_owned());
        }
        let damage = |mut bytes: Vec<u8>| {
            if fault == Some(Fault::Damaged)
                && let Some(byte) = bytes.last_mut()
            {
                *byte ^= 1;
            }
            bytes
        };
        let reply = match step {
            ArchiveStep::Put { name, bytes, class } => {
                self.puts.set(self.puts.get() + 1);
                let object = StoredObject {
                    bytes: damage(bytes.to_vec()),
                    class: *class,
                };
                self.objects.borrow_mut().insert(name.clone(), object);
                ArchiveReply::Stored
            }
            ArchiveStep::Get { name } => ArchiveReply::Got(self.get(name).map(damage)),
            ArchiveStep::Delete { name } => {
                self.objects.borrow_mut().remove(name);
                ArchiveReply::Deleted
            }
            ArchiveStep::Pause => return Ok(None),
        };
        if fault == Some(Fault::AnswerLost) {
            return Err("the answer was lost".to_owned());
        }
        Ok(Some(reply))
    }
}
