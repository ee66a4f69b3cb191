//! Where sockets lead, in all network namespaces of the session.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use rustix::process::Pid;

use crate::sys::connections::{Connection, State, tcp_connections, udp_connections};
use crate::sys::network_namespace::{addresses, name_of, within};
use crate::sys::port::Protocol;
use crate::sys::sockets::{Listener, listeners, udp_listeners};
use crate::sys::unix_sockets::{UnixPeer, unix_peers};

/// No more network namespaces are looked at.
const MOST_NAMESPACES: usize = 16;

#[derive(Debug)]
pub(super) struct Sockets {
    /// One for each network namespace.
    tables: Vec<Table>,
}

/// The sockets of one network namespace.
#[derive(Debug, Default)]
struct Table {
    connections: Vec<Connection>,
    by_inode: HashMap<u32, usize>,
    by_ends: HashMap<(Protocol, SocketAddr, SocketAddr), usize>,
    listeners: Vec<Listener>,
    /// Those of its interfaces, and of the local ends of its connections.
    addresses: HashSet<IpAddr>,
    unix: HashMap<u32, UnixPeer>,
}

#[derive(Debug)]
pub(super) enum Socket<'a> {
    Listener(&'a Listener),
    Connected {
        own: &'a Connection,
        /// Whether the other end has made the connection.
        is_serving: bool,
        other: OtherEnd<'a>,
    },
    Unix(UnixPeer),
}

#[derive(Debug)]
pub(super) enum OtherEnd<'a> {
    Open(&'a Connection),
    /// No process has accepted the connection yet: the inodes of the listening sockets, of which there may be none.
    NotAccepted(Vec<u32>),
    /// The processes that had it have closed it.
    Closed,
    /// On another host, or in another network namespace.
    Elsewhere,
}

impl Sockets {
    /// Those of our own network namespace, and of those of these processes.
    pub(super) fn read(pids: impl Iterator<Item = Pid>) -> Self {
        let own = name_of(rustix::process::getpid());
        let names: BTreeMap<_, _> = pids.filter_map(|pid| Some((name_of(pid)?, pid))).collect();
        let others = names.into_iter().filter(|(name, _)| Some(name) != own.as_ref());
        let others = others.take(MOST_NAMESPACES).filter_map(|(_, pid)| within(pid, Table::read).ok());
        Self { tables: std::iter::once(Table::read()).chain(others).collect() }
    }

    pub(super) fn find(&self, inode: u32) -> Option<Socket<'_>> {
        self.tables.iter().find_map(|table| {
            if let Some(&at) = table.by_inode.get(&inode) {
                let own = &table.connections[at];
                let is_serving = table.listening_on(own.local, own.protocol).next().is_some();
                return Some(Socket::Connected { own, is_serving, other: self.other_end(own, table) });
            }
            let listener = table.listeners.iter().find(|it| it.inode == inode).map(Socket::Listener);
            listener.or_else(|| table.unix.get(&inode).map(|&peer| Socket::Unix(peer)))
        })
    }

    fn other_end<'a>(&'a self, own: &Connection, table: &'a Table) -> OtherEnd<'a> {
        // A loopback address means another socket in each namespace.
        let is_local = own.remote.ip().is_loopback();
        let elsewhere = self.tables.iter().filter(|it| !is_local && !std::ptr::eq(*it, table));
        let tables = || std::iter::once(table).chain(elsewhere.clone());
        let listening = || {
            let found = tables().flat_map(|it| it.listening_on(own.remote, own.protocol));
            found.map(|listener| listener.inode).collect::<Vec<_>>()
        };
        match tables().find_map(|it| it.facing(own)) {
            Some(peer) if peer.inode != 0 => OtherEnd::Open(peer),
            Some(peer) if peer.state == State::ClosedHere => OtherEnd::Closed,
            Some(_) => OtherEnd::NotAccepted(listening()),
            None if own.state == State::Connecting || own.protocol == Protocol::Udp => match listening() {
                none if none.is_empty() => OtherEnd::Elsewhere,
                found => OtherEnd::NotAccepted(found),
            },
            None if own.state == State::ClosedThere => OtherEnd::Closed,
            None => OtherEnd::Elsewhere,
        }
    }
}

impl Table {
    /// Of the network namespace of this thread. What the kernel does not list is missing.
    fn read() -> Self {
        let mut connections = tcp_connections().unwrap_or_default();
        connections.extend(udp_connections().unwrap_or_default());
        let mut listeners = listeners().unwrap_or_default();
        listeners.extend(udp_listeners().unwrap_or_default());
        let numbered = || connections.iter().enumerate();
        let by_inode = numbered().filter(|(_, it)| it.inode != 0).map(|(at, it)| (it.inode, at)).collect();
        let by_ends = numbered().map(|(at, it)| ((it.protocol, it.local, it.remote), at)).collect();
        let mut addresses = addresses().unwrap_or_default();
        addresses.extend(connections.iter().map(|it| it.local.ip()));
        Self { by_inode, by_ends, connections, listeners, addresses, unix: unix_peers().unwrap_or_default() }
    }

    fn facing(&self, own: &Connection) -> Option<&Connection> {
        let at = self.by_ends.get(&(own.protocol, own.remote, own.local))?;
        self.connections.get(*at)
    }

    /// Those that get what is sent to this address. A socket without an address of its own gets only what is sent to this
    /// host.
    fn listening_on(&self, address: SocketAddr, protocol: Protocol) -> impl Iterator<Item = &Listener> {
        let is_here = address.ip().is_loopback() || self.addresses.contains(&address.ip());
        self.listeners.iter().filter(move |it| {
            it.port.number == address.port()
                && it.port.protocol == protocol
                && (it.address.to_canonical() == address.ip() || is_here && it.address.is_unspecified())
        })
    }
}
