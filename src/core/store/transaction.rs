//! What a command sees of the store while it is carried out: its database, at its time.

use super::commands::{CommandResult, strings};
use super::entries::{Edit, Stored};
use super::state::{Stamp, UnixMs};
use super::table::Chance;
use super::value::{Fields, List, Value, ValueKind, Zset};
use super::{Bytes, Command, Db, Reply, Store, StoreError};

/// The store as a read sees it.
#[derive(Debug, Clone, Copy)]
pub struct StoreView<'a> {
    /// All of it.
    pub store: &'a Store,
    /// The database.
    pub db: Db,
    stamp: Stamp,
}

impl<'a> StoreView<'a> {
    pub(super) fn new(store: &'a Store, db: Db, stamp: Stamp) -> Self {
        Self { store, db, stamp }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.stamp.time
    }

    /// Chance, the same for every call.
    #[must_use]
    pub fn chance(&self) -> Chance {
        Chance::new(self.stamp.seed)
    }

    /// The same in another database.
    #[must_use]
    pub fn at(&self, db: Db) -> Self {
        Self { db, ..*self }
    }

    /// What is stored under a key, if its time is not over.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&'a Stored> {
        self.store.get_in(self.db, key).filter(|stored| !stored.is_past(self.stamp.time))
    }

    fn value(&self, key: &[u8]) -> Option<&'a Value> {
        self.get(key).map(|stored| &stored.value)
    }

    /// The bytes of a string.
    ///
    /// # Errors
    /// When it is of another kind; so with those below.
    pub fn string(&self, key: &[u8]) -> CommandResult<Option<&'a Bytes>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(StoreError::WRONG_TYPE),
        }
    }

    /// A hash.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn hash(&self, key: &[u8]) -> CommandResult<Option<&'a Fields>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Hash(fields)) => Ok(Some(fields)),
            Some(_) => Err(StoreError::WRONG_TYPE),
        }
    }

    /// A set.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn set(&self, key: &[u8]) -> CommandResult<Option<&'a Fields>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Set(fields)) => Ok(Some(fields)),
            Some(_) => Err(StoreError::WRONG_TYPE),
        }
    }

    /// A list.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn list(&self, key: &[u8]) -> CommandResult<Option<&'a List>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(StoreError::WRONG_TYPE),
        }
    }

    /// A sorted set.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn zset(&self, key: &[u8]) -> CommandResult<Option<&'a Zset>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Zset(zset)) => Ok(Some(zset)),
            Some(_) => Err(StoreError::WRONG_TYPE),
        }
    }
}

/// The store as a write sees it.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// All of it.
    pub(super) store: &'a mut Store,
    /// The database.
    pub(super) db: Db,
    stamp: Stamp,
    chance: Chance,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(store: &'a mut Store, db: Db, stamp: Stamp) -> Self {
        Self { store, db, stamp, chance: Chance::new(stamp.seed) }
    }

    /// The store as a read would see it now.
    #[must_use]
    pub fn view(&self) -> StoreView<'_> {
        StoreView::new(self.store, self.db, self.stamp)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.stamp.time
    }

    /// Chance, the same on every server.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// Removes a key whose time is over. Before a write looks at a key.
    fn expire(&mut self, key: &[u8]) {
        if self.store.get_in(self.db, key).is_some_and(|stored| stored.is_past(self.stamp.time)) {
            self.store.remove(self.db, key);
        }
    }

    /// Stores a value that does not expire in the place of whatever was there. An empty collection is not stored.
    pub fn put(&mut self, key: &Bytes, value: Value) {
        if value.is_empty() {
            self.remove(key);
        } else {
            self.store.put(self.db, key.clone(), value, 0);
        }
    }

    /// Stores a string; what is there keeps its expiry.
    pub fn put_string(&mut self, key: &Bytes, value: Bytes) {
        let expires = self.view().get(key).map_or(0, |stored| stored.expires);
        self.store.put(self.db, key.clone(), Value::String(value), expires);
    }

    /// The same with an expiry (0: never).
    pub fn put_with(&mut self, key: &Bytes, value: Value, expires: UnixMs) {
        self.store.put(self.db, key.clone(), value, expires);
    }

    /// Removes a key; false when there was none.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.expire(key);
        self.store.remove(self.db, key)
    }

    /// Takes a key away with what it holds.
    pub fn take(&mut self, key: &[u8]) -> Option<Stored> {
        self.expire(key);
        self.store.take(self.db, key).map(|(_, stored)| stored)
    }

    /// Sets when a key expires.
    pub fn set_expiry(&mut self, key: &Bytes, expires: UnixMs) {
        self.store.set_expiry(self.db, key, expires);
    }

    /// Removes all keys of a database.
    pub fn flush(&mut self, db: Db) {
        self.store.flush(db);
    }

    /// The same in another database.
    pub fn at(&mut self, db: Db) -> Transaction<'_> {
        Transaction { store: self.store, db, stamp: self.stamp, chance: self.chance.clone() }
    }

    /// Changes a hash, which is begun when there is none.
    ///
    /// # Errors
    /// When the key holds something else; so with those below.
    pub fn edit_hash<R>(&mut self, key: &Bytes, change: impl FnOnce(&mut Fields, &mut Edit) -> R) -> CommandResult<R> {
        self.view().hash(key)?;
        Ok(self.edit_fields(key, ValueKind::Hash, change))
    }

    /// Changes a set, which is begun when there is none.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn edit_set<R>(&mut self, key: &Bytes, change: impl FnOnce(&mut Fields, &mut Edit) -> R) -> CommandResult<R> {
        self.view().set(key)?;
        Ok(self.edit_fields(key, ValueKind::Set, change))
    }

    fn edit_fields<R>(&mut self, key: &Bytes, kind: ValueKind, change: impl FnOnce(&mut Fields, &mut Edit) -> R) -> R {
        self.expire(key);
        self.store.edit(self.db, key, kind, |value, edit| match value {
            Value::Hash(fields) | Value::Set(fields) => change(fields, edit),
            _ => unreachable!("the kind was looked at"),
        })
    }

    /// Changes a list, which is begun when there is none.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn edit_list<R>(&mut self, key: &Bytes, change: impl FnOnce(&mut List, &mut Edit) -> R) -> CommandResult<R> {
        self.view().list(key)?;
        self.expire(key);
        Ok(self.store.edit(self.db, key, ValueKind::List, |value, edit| match value {
            Value::List(list) => change(list, edit),
            _ => unreachable!("the kind was looked at"),
        }))
    }

    /// Changes a sorted set, which is begun when there is none.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn edit_zset<R>(&mut self, key: &Bytes, change: impl FnOnce(&mut Zset, &mut Edit) -> R) -> CommandResult<R> {
        self.view().zset(key)?;
        self.expire(key);
        Ok(self.store.edit(self.db, key, ValueKind::Zset, |value, edit| match value {
            Value::Zset(zset) => change(zset, edit),
            _ => unreachable!("the kind was looked at"),
        }))
    }

    /// The writes that have a variant of their own.
    pub(super) fn plain(&mut self, command: Command) -> Reply {
        match command {
            Command::Add { key, .. } if self.view().get(&key).is_some() => Reply::Nil,
            Command::Update { key, .. } if self.view().get(&key).is_none() => Reply::Nil,
            Command::Add { key, value } | Command::Update { key, value } => {
                self.put_with(&key, Value::String(value), 0);
                Reply::Ok
            }
            Command::Delete { key } => Reply::Integer(i64::from(self.remove(&key))),
            Command::Append { key, value } => strings::append_to(self, &key, &value).into(),
            Command::Incr { key } => strings::increment(self, &key, 1).into(),
            other => unreachable!("{} is carried out elsewhere", other.name()),
        }
    }
}
