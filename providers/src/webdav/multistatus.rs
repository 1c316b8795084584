//! Reading what a PROPFIND answers: XML as a dozen servers write it.

use chrono::{DateTime, Utc};
use quick_xml::{
    NsReader,
    events::{BytesRef, Event},
    name::{Namespace, ResolveResult},
};

use crate::{
    Version,
    http::{ANSWER_BYTES_MAX, fields},
};

/// The most resources that one answer may hold.
pub(super) const RESOURCES_MAX: usize = 100_000;

/// The deepest nesting that an answer may have.
const DEPTH_MAX: usize = 64;

/// One file or folder in the answer, with what the server chose to tell about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resource {
    /// Its address as the server wrote it.
    pub(super) href: String,
    /// The status of the resource as a whole, where there is one.
    pub(super) status: Option<u16>,
    pub(super) is_folder: bool,
    pub(super) bytes: Option<u64>,
    pub(super) version: Option<Version>,
    pub(super) modified: Option<DateTime<Utc>>,
}

impl Resource {
    /// Whether the server says that it is not there after all.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.status, Some(404 | 410))
    }
}

/// Reads a multistatus. Missing and strange properties are passed over; XML that is broken or cut
/// is an error, in words, because half a listing must never be taken for a whole one.
pub(super) fn parse(xml: &[u8]) -> Result<Vec<Resource>, String> {
    let xml = String::from_utf8_lossy(xml);
    if xml.len() as u64 > ANSWER_BYTES_MAX {
        // What is no UTF-8 becomes three times as long.
        return Err("it is too long for an answer that is not UTF-8".to_owned());
    }
    let mut reader = NsReader::from_str(xml.trim_start_matches('\u{feff}'));
    let mut state = State::default();
    let mut seen = false;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(start) => {
                let element = Element::of(&namespace, start.local_name().as_ref());
                seen |= state.open(element)?;
            }
            Event::Empty(start) => {
                let element = Element::of(&namespace, start.local_name().as_ref());
                seen |= state.open(element)?;
                state.close()?;
            }
            Event::End(_) => state.close()?,
            Event::Text(text) => state.text.push_str(&text),
            Event::CData(text) => state.text.push_str(&text),
            Event::GeneralRef(reference) => state.text.push(resolve(&reference)?),
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
    if !state.open.is_empty() {
        return Err("the XML is cut off".to_owned());
    }
    if !seen {
        return Err("the XML is no multistatus".to_owned());
    }
    Ok(state.resources)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Multistatus,
    Response,
    Href,
    Status,
    Propstat,
    Prop,
    ResourceType,
    Collection,
    Length,
    Modified,
    Tag,
    Other,
}

impl Element {
    fn of(namespace: &ResolveResult<'_>, name: &str) -> Self {
        if *namespace != ResolveResult::Bound(Namespace("DAV:")) {
            return Self::Other;
        }
        match name {
            "multistatus" => Self::Multistatus,
            "response" => Self::Response,
            "href" => Self::Href,
            "status" => Self::Status,
            "propstat" => Self::Propstat,
            "prop" => Self::Prop,
            "resourcetype" => Self::ResourceType,
            "collection" => Self::Collection,
            "getcontentlength" => Self::Length,
            "getlastmodified" => Self::Modified,
            "getetag" => Self::Tag,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Element>,
    text: String,
    resource: Resource,
    /// The properties of the propstat being read, and its status.
    found: Resource,
    resources: Vec<Resource>,
}

impl State {
    /// Goes into an element; whether it is the multistatus that everything stands in.
    fn open(&mut self, element: Element) -> Result<bool, String> {
        if self.open.len() >= DEPTH_MAX {
            return Err("the XML is nested too deeply".to_owned());
        }
        let is_root = self.open.is_empty() && element == Element::Multistatus;
        self.open.push(element);
        self.text.clear();
        match self.open.as_slice() {
            [Element::Multistatus, Element::Response] => self.resource = Resource::default(),
            [.., Element::Response, Element::Propstat] => self.found = Resource::default(),
            _ => {}
        }
        Ok(is_root)
    }

    fn close(&mut self) -> Result<(), String> {
        use Element::{
            Collection, Href, Length, Modified, Multistatus, Prop, Propstat, ResourceType,
            Response, Status, Tag,
        };
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        match self.open.as_slice() {
            [Multistatus, Response] => {
                if self.resources.len() >= RESOURCES_MAX {
                    return Err(format!("there are more than {RESOURCES_MAX} files in it"));
                }
                self.resources.push(std::mem::take(&mut self.resource));
            }
            [Multistatus, Response, Href] if self.resource.href.is_empty() => {
                text.clone_into(&mut self.resource.href);
            }
            [Multistatus, Response, Status] => self.resource.status = status_of(text),
            [Multistatus, Response, Propstat] => self.keep_found(),
            [Multistatus, Response, Propstat, inner @ ..] => match inner {
                [Status] => self.found.status = status_of(text),
                [Prop, ResourceType, Collection] => self.found.is_folder = true,
                [Prop, Length] => self.found.bytes = text.parse().ok(),
                [Prop, Modified] => self.found.modified = fields::date(text),
                [Prop, Tag] => self.found.version = fields::tag(text),
                _ => {}
            },
            _ => {}
        }
        self.open.pop();
        Ok(())
    }

    /// Takes over the properties of a propstat, unless it says that they are not there.
    fn keep_found(&mut self) {
        let found = std::mem::take(&mut self.found);
        if found.status.is_some_and(|status| !(200..300).contains(&status)) {
            return;
        }
        let resource = &mut self.resource;
        resource.is_folder |= found.is_folder;
        resource.bytes = found.bytes.or(resource.bytes);
        resource.modified = found.modified.or(resource.modified);
        resource.version = found.version.or(resource.version.take());
    }
}

/// The number in `HTTP/1.1 200 OK`.
fn status_of(line: &str) -> Option<u16> {
    line.split_ascii_whitespace().find_map(|word| word.parse().ok())
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character);
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        other => Err(format!("the XML uses the entity {other:?}")),
    }
}

#[cfg(test)]
mod tests;
