//! Every bound on what larder takes in, in one place. Each has a test that asserts its message.

/// The longest manifest that is read, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 8 << 20;
/// How much memory the manifests may take that are read at once and joined, in bytes: heads of devices,
/// copies that other programs made. The first of them counts, but is read in any case.
pub const MANIFESTS_WEIGHT_MAX: u64 = 32 << 20;
/// The most heads of devices that are read.
pub const HEADS_MAX: usize = 256;
/// The most tokens in `head/` that are looked into, and the most copies of a head.
pub const TOKENS_MAX: usize = 16;
/// The longest text of one record (a file, or what `put` is given), in bytes.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;
/// The longest content of a file that is no record of fields, in bytes: 1 TiB.
pub const BLOB_BYTES_MAX: u64 = 1 << 40;
/// The longest encoded entity that is read, in bytes. An entity holds one text of at most
/// [`TEXT_BYTES_MAX`], escaped as JSON, and for a while the concurrent versions of it as well.
pub const ENTITY_BYTES_MAX: usize = 16 << 20;
/// The deepest nesting of a value.
pub const NESTING_MAX: usize = 64;
/// The most values in one text of JSON (a record, a manifest, an index). Lists, objects and what is in
/// them count, and so does each comma: a value takes two bytes of text, and some hundred of memory.
pub const VALUES_MAX: usize = 1 << 18;
/// The most values in the fields of one file of a vault: room for a few versions of it in a record.
pub const FILE_VALUES_MAX: usize = 1 << 15;
/// The most fields an entity has.
pub const FIELDS_MAX: usize = 1000;
/// The longest field name, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// The longest entity id, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// The longest content of a data file after decompression, in bytes. A manifest declares the exact
/// length of each; nothing is unpacked beyond what is declared, and nothing may declare more.
pub const DATA_TEXT_BYTES_MAX: u64 = 64 << 20;
/// The longest `larder.toml`, in bytes. It comes from the remote, and each of its globs becomes a
/// program of many times its length.
pub const RULES_BYTES_MAX: usize = 64 << 10;
/// The most globs in it.
pub const GLOBS_MAX: usize = 1000;
/// The longest glob, in bytes: as long as a path.
pub const GLOB_BYTES_MAX: usize = 1024;
/// The longest data file (delta, pack or entity file) that is read whole, in bytes.
pub const DATA_FILE_BYTES_MAX: u64 = 64 << 20;
/// The longest list of the blocks of a data file, in bytes.
pub const INDEX_BYTES_MAX: u64 = 1 << 20;
/// The most concurrent values of one field that are read.
pub const SIBLINGS_MAX: usize = 256;
/// The most devices in one clock.
pub const DEVICES_MAX: usize = 4096;
/// A stamp further ahead of this device's clock than this many milliseconds is kept, reported, and
/// not believed.
pub const STAMP_AHEAD_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// The highest counter of an edit, and the highest generation: what every reader of JSON holds.
pub const COUNT_MAX: u64 = (1 << 53) - 1;
/// From how many known files on a brake works, where over half of them would go.
pub const BRAKE_FILES_MIN: usize = 10;
/// The longest file that holds a wrapped key, in bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
/// The most wrapped keys that a passphrase is tried on.
pub const KEY_FILES_MAX: usize = 4;
/// The most memory that a remote may have a passphrase cost, in KiB: 128 MiB, half of what larder may take
/// in all and twice what it asks of its own.
pub const KDF_MEMORY_KIB_MAX: u32 = 128 << 10;
/// The least memory that a passphrase has to cost, in KiB.
pub const KDF_MEMORY_KIB_MIN: u32 = 8 << 10;
/// The most passes over that memory.
pub const KDF_ITERATIONS_MAX: u32 = 16;
/// The most lanes of that memory.
pub const KDF_PARALLELISM_MAX: u32 = 8;
/// The shortest passphrase that a key is wrapped by, in characters.
pub const PASSPHRASE_CHARS_MIN: usize = 8;
/// The longest name of a file whose name is sealed, in bytes: sealed it has 200.
pub const SEALED_NAME_BYTES_MAX: usize = 109;
