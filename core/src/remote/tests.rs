//! The contract, rule by rule, against a server whose moves the tests decide.

mod coherence;
mod rig;
mod service;

use rig::{Server, until};

use crate::{Database, Engine};

/// Times that leave a busy machine room: nothing here is noticed by their being over.
const PATIENT: &str = "heartbeat=200ms&deadline=20s&timeout=20s&connect_timeout=20s";

fn database(engine: &Engine) -> Database {
    engine.database(0).unwrap()
}

fn get(db: &Database, key: &str) -> Option<String> {
    db.get(key).unwrap().map(|value| String::from_utf8(value).unwrap())
}

/// Waits until a value is near: reading it again asks nobody.
#[track_caller]
fn settle(server: &Server, db: &Database, key: &str) {
    until("the value is near", || {
        db.get(key).unwrap();
        let before = server.count("GET", key);
        db.get(key).unwrap();
        server.count("GET", key) == before
    });
}
