//! One connection of a client. It serves one request, and what that becomes if it is upgraded.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::creator::{Creator, Family};
use super::head::{Head, Opening};
use super::labelling::{NamedVolume, labelled, named_volumes};
use super::pending::Pending;
use super::refusal::Refusal;
use super::relay::relay;
use super::target::Creation;
use super::{body, head};
use crate::containers::labels::{RUNNER, SERVICE, TEST};
use crate::sys::connect::connect_unix_within;
use crate::sys::process::identity::Identity;

/// How long a client can take to say what it wants, and to send the body that is changed.
const PATIENCE: Duration = Duration::from_secs(20);
/// The kernel would wait for room in the backlog of an engine that hangs.
const CONNECT: Duration = Duration::from_secs(30);
/// How long an engine can take to create a volume.
const VOLUME: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: u64 = 1 << 20;

/// What all connections to an engine have in common.
#[derive(Debug)]
pub(super) struct Service {
    pub labels: Vec<(&'static str, String)>,
    pub family: Family,
    pub pending: Pending,
    /// Whose rights the engines are dialled with, if not ours.
    pub identity: Option<Identity>,
}

impl Service {
    /// Serves one client of the engine whose socket is `engine`.
    pub(super) fn serve(&self, client: &UnixStream, engine: &Path) {
        if let Err(refusal) = self.try_serve(client, engine) {
            refusal.tell(client);
        }
    }

    fn try_serve(&self, mut client: &UnixStream, engine: &Path) -> Result<(), Refusal> {
        let ignored = |_| Refusal::nobody_hears();
        let lent = self.identity.as_ref().map_or(Ok(()), Identity::lend_files_to_thread);
        lent.map_err(|_| Refusal::nobody_hears())?;
        client.set_read_timeout(Some(PATIENCE)).map_err(ignored)?;
        match head::read(&mut client)? {
            Opening::Nothing => Ok(()),
            Opening::Http2(bytes) => self.pass_on(client, engine, &bytes),
            Opening::Request(mut head) => match Creation::of(&head.method, &head.target) {
                Some(creation) => self.create(&creation, &mut head, client, engine),
                None => {
                    body::framing(&head)?;
                    self.pass_on(client, engine, &[head.to_bytes(), std::mem::take(&mut head.rest)].concat())
                }
            },
        }
    }

    /// Becomes the session's user. Before that, this thread sees other users' processes too, which can be parents of a client.
    fn act_as_user(&self) -> Result<(), Refusal> {
        let lent = self.identity.as_ref().map_or(Ok(()), Identity::lend_to_thread);
        lent.map_err(|_| Refusal::nobody_hears())
    }

    /// Connects the client with the engine, to which these bytes come first.
    fn pass_on(&self, client: &UnixStream, path: &Path, first: &[u8]) -> Result<(), Refusal> {
        let ignored = |_| Refusal::nobody_hears();
        self.act_as_user()?;
        let engine = dial(path)?;
        client.set_read_timeout(None).map_err(ignored)?;
        // An engine can answer and close before it has read all.
        let _ = (&engine).write_all(first);
        relay(client, &engine).map_err(ignored)
    }

    /// Passes a creation on with labels. It is brought to its end even if the client is killed, so that it is known then what
    /// there is to remove.
    fn create(
        &self,
        creation: &Creation,
        head: &mut Head,
        mut client: &UnixStream,
        path: &Path,
    ) -> Result<(), Refusal> {
        let creator = Creator::of(client, &self.family);
        let mut body = body::read(head, &mut client)?;
        let _creating = self.pending.begin().ok_or_else(Refusal::ending)?;
        let mut labels = self.labels.clone();
        // Empty if unknown: those of an image would stay.
        labels.extend([
            (RUNNER, creator.test.as_ref().map(|it| it.runner.to_owned()).unwrap_or_default()),
            (TEST, creator.test.map(|it| it.to_string()).unwrap_or_default()),
            (SERVICE, creator.service.unwrap_or_default()),
        ]);
        let volumes = named_volumes(creation, &body);
        if let Some(changed) = labelled(creation, &body, &labels) {
            body = changed;
        }
        self.act_as_user()?;
        for volume in volumes {
            create_volume(creation, &volume, &labels, path);
        }
        head.set_length(body.len());
        let mut engine = dial(path)?;
        let unreachable = |error| Refusal::unreachable(path, &error);
        engine.write_all(&[head.to_bytes(), body].concat()).map_err(unreachable)?;
        let mut chunk = [0; 16 << 10];
        let mut is_heard = true;
        loop {
            match engine.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => is_heard = is_heard && client.write_all(&chunk[..length]).is_ok(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(()),
            }
        }
    }
}

fn dial(path: &Path) -> Result<UnixStream, Refusal> {
    let unreachable = |error| Refusal::unreachable(path, &error);
    let stream = connect_unix_within(path, CONNECT).map_err(unreachable)?;
    stream.set_write_timeout(None).map_err(unreachable)?;
    Ok(stream)
}

/// Creates a volume that a container is about to use, unless it is there. A failure shows when the container is created.
fn create_volume(
    creation: &Creation,
    volume: &NamedVolume,
    labels: &Vec<(&'static str, String)>,
    path: &Path,
) {
    let what = format!("{}/volumes/create", creation.prefix);
    let Some(creation) = Creation::of("POST", &what) else { return };
    let Some(body) = labelled(&creation, volume.description.to_string().as_bytes(), labels) else { return };
    let Ok(mut engine) = dial(path) else { return };
    let head = format!(
        "POST {what} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = engine.set_read_timeout(Some(VOLUME));
    let _ = engine.write_all(&[head.as_bytes(), &body].concat());
    let _ = engine.take(LARGEST_ANSWER).read_to_end(&mut Vec::new());
}
