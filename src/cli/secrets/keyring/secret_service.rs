//! The Secret Service of the desktop (GNOME Keyring, KWallet, KeePassXC) over D-Bus, as
//! <https://specifications.freedesktop.org/secret-service/0.2/> says.
//!
//! Only what is open is used. A locked collection could be unlocked by a prompt, which is a window
//! on somebody's screen: nothing for a program that also runs when nobody sits there. Secrets go
//! over the bus as they are (algorithm `plain`): the bus is a socket of the user, and whoever can
//! listen there as the user can ask for the secret as well.

use std::collections::HashMap;

use zbus::{
    Connection,
    export::serde::{Serialize, de::DeserializeOwned},
    zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Type, Value},
};

use super::Trouble;
use crate::cli::env;

const NAME: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const ITEM: &str = "org.freedesktop.Secret.Item";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A secret on its way: session, parameters of the encryption, value, type.
type Secret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

pub(super) fn recall(service: &str, account: &str) -> Result<Option<String>, Trouble> {
    run(async |bus| {
        let found = bus.search(service, account).await?;
        let Some(item) = found.open.first() else {
            return found.locked.is_empty().then_some(None).ok_or(Trouble::Locked);
        };
        let secret: Secret = bus.call(item, ITEM, "GetSecret", &(bus.session().await?,)).await?;
        let text = String::from_utf8(secret.2);
        text.map(Some).map_err(|_| Trouble::Failed("no text".to_owned()))
    })
}

pub(super) fn keep(service: &str, account: &str, secret: &str) -> Result<(), Trouble> {
    run(async |bus| {
        let found = bus.search(service, account).await?;
        let kind = "text/plain; charset=utf8".to_owned();
        let value = secret.as_bytes().to_vec();
        let secret: Secret = (bus.session().await?, Vec::new(), value, kind);
        if let Some(item) = found.open.first() {
            return bus.call(item, ITEM, "SetSecret", &(secret,)).await;
        }
        let collection = bus.default_collection().await?;
        let label = format!("larder: {account}");
        let properties = HashMap::from([
            ("org.freedesktop.Secret.Item.Label", Value::from(label)),
            ("org.freedesktop.Secret.Item.Attributes", Value::from(attributes(service, account))),
        ]);
        let made: (OwnedObjectPath, OwnedObjectPath) =
            bus.call(&collection, COLLECTION, "CreateItem", &(properties, secret, true)).await?;
        unprompted(&made.1)
    })
}

pub(super) fn forget(service: &str, account: &str) -> Result<bool, Trouble> {
    run(async |bus| {
        let found = bus.search(service, account).await?;
        for item in &found.open {
            let prompt: OwnedObjectPath = bus.call(item, ITEM, "Delete", &()).await?;
            unprompted(&prompt)?;
        }
        if found.locked.is_empty() { Ok(!found.open.is_empty()) } else { Err(Trouble::Locked) }
    })
}

/// Does something on the bus of the session.
fn run<T>(work: impl AsyncFnOnce(&Bus) -> Result<T, Trouble>) -> Result<T, Trouble> {
    let failed = |error: std::io::Error| Trouble::Failed(error.kind().to_string());
    let address = address().ok_or(Trouble::Absent)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        let builder = zbus::connection::Builder::address(address.as_str());
        let builder = builder.map_err(|_| Trouble::Absent)?;
        // Nobody listens, or somebody who does not let us in.
        let connection = builder.build().await.map_err(|_| Trouble::Absent)?;
        work(&Bus { connection }).await
    })
}

/// Where the bus of the session is. None is started where there is none.
fn address() -> Option<String> {
    let usual = || {
        let socket = std::path::PathBuf::from(env::var("XDG_RUNTIME_DIR")?).join("bus");
        socket.exists().then(|| format!("unix:path={}", socket.display()))
    };
    env::var("DBUS_SESSION_BUS_ADDRESS").or_else(usual)
}

fn attributes(service: &str, account: &str) -> HashMap<String, String> {
    let pairs = [("service", service), ("username", account)];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A call that would have to ask the user has done nothing.
fn unprompted(prompt: &OwnedObjectPath) -> Result<(), Trouble> {
    if prompt.as_str() == "/" { Ok(()) } else { Err(Trouble::Locked) }
}

/// A connection to the service.
struct Bus {
    connection: Connection,
}

/// The items of an account.
struct Found {
    open: Vec<OwnedObjectPath>,
    locked: Vec<OwnedObjectPath>,
}

impl Bus {
    async fn call<A, R>(
        &self,
        at: &str,
        interface: &str,
        method: &str,
        args: &A,
    ) -> Result<R, Trouble>
    where
        A: Serialize + DynamicType,
        R: DeserializeOwned + Type,
    {
        let answer =
            self.connection.call_method(Some(NAME), at, Some(interface), method, args).await;
        let answer = answer.map_err(|error| trouble(&error))?;
        let body = answer.body();
        body.deserialize().map_err(|_| Trouble::Failed(format!("answer to {method}")))
    }

    async fn session(&self) -> Result<OwnedObjectPath, Trouble> {
        let args = ("plain", Value::from(""));
        let (_, session): (OwnedValue, OwnedObjectPath) =
            self.call(ROOT, SERVICE, "OpenSession", &args).await?;
        Ok(session)
    }

    async fn search(&self, service: &str, account: &str) -> Result<Found, Trouble> {
        let args = (attributes(service, account),);
        let (open, locked) = self.call(ROOT, SERVICE, "SearchItems", &args).await?;
        Ok(Found { open, locked })
    }

    /// Where new items go; there is none before the user has made one.
    async fn default_collection(&self) -> Result<OwnedObjectPath, Trouble> {
        let collection: OwnedObjectPath =
            self.call(ROOT, SERVICE, "ReadAlias", &("default",)).await?;
        if collection.as_str() == "/" {
            return Err(Trouble::Absent);
        }
        let locked: OwnedValue =
            self.call(&collection, PROPERTIES, "Get", &(COLLECTION, "Locked")).await?;
        match bool::try_from(locked) {
            Ok(false) => Ok(collection),
            _ => Err(Trouble::Locked),
        }
    }
}

/// What an error stands for. Only its name is told.
fn trouble(error: &zbus::Error) -> Trouble {
    let zbus::Error::MethodError(name, ..) = error else {
        return Trouble::Failed("connection".to_owned());
    };
    match name.as_str() {
        "org.freedesktop.Secret.Error.IsLocked" => Trouble::Locked,
        "org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.TimedOut" => {
            Trouble::Silent
        }
        name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => Trouble::Absent,
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.DBus.Error.UnknownMethod"
        | "org.freedesktop.DBus.Error.UnknownObject" => Trouble::Absent,
        name => Trouble::Failed(name.rsplit('.').next().unwrap_or(name).to_owned()),
    }
}
