//! HAProxy's values: sample fetches that are called directly, and expressions.
#![expect(unsafe_code, reason = "calls HAProxy's sample functions")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use nix::libc;

use super::abi::{
    self, ARGUMENTS_NEEDED, Arg, Buffer, METHODS, ProcessFetch, Proxy, Sample, SampleExpr, SampleFetch, Session, kind,
};
use super::{Engine, engine};

/// What a fetch or an expression gave. Borrowed from HAProxy, until the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Value<'a> {
    /// A number.
    Int(i64),
    /// A truth.
    Bool(bool),
    /// A text, of any bytes.
    Text(&'a [u8]),
    /// Bytes.
    Bin(&'a [u8]),
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address.
    V6([u8; 16]),
}

/// A sample fetch without arguments: `src`, `fe_name`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Fetch {
    process: ProcessFetch,
    keyword: *const c_char,
    private: *mut c_void,
    arguments: *const Arg,
}

// SAFETY: HAProxy's keywords never change once it has read its configuration, and fetches are called by all of its threads.
unsafe impl Send for Fetch {}
// SAFETY: as above.
unsafe impl Sync for Fetch {}

impl Fetch {
    /// By its name; `None` where this HAProxy has none such, or it needs arguments.
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        Self::find(engine()?, name)
    }

    pub(super) fn find(engine: &Engine, name: &str) -> Option<Self> {
        let len = c_int::try_from(name.len()).ok()?;
        // SAFETY: HAProxy compares `len` bytes.
        let found = unsafe { (engine.symbols.find_sample_fetch)(name.as_ptr().cast(), len) };
        // SAFETY: null, or one of HAProxy's keywords, which are never freed.
        let fetch: &SampleFetch = unsafe { found.as_ref() }?;
        if fetch.kw.is_null() || fetch.arg_mask & ARGUMENTS_NEEDED != 0 {
            return None;
        }
        // SAFETY: a keyword's name, which ends in zero.
        let called = unsafe { CStr::from_ptr(fetch.kw) };
        (called.to_bytes() == name.as_bytes()).then_some(())?;
        let arguments = engine.symbols.empty_arg_list;
        Some(Self { process: fetch.process?, keyword: fetch.kw, private: fetch.private, arguments })
    }

    /// Its value. A call through one pointer.
    ///
    /// # Safety
    ///
    /// `owner` must be alive, on the thread that it belongs to, while the value is.
    pub(super) unsafe fn call<'a>(&self, owner: &Owner) -> Option<Value<'a>> {
        let mut room = MaybeUninit::uninit();
        let sample = owner.sample(&mut room);
        // SAFETY: the caller promises the owner.
        unsafe { self.fill(sample) }
    }

    /// Its value, in a sample that says whose it is.
    ///
    /// # Safety
    ///
    /// As for [`Self::call`]; the sample must be one of [`Owner::sample`]'s, empty.
    #[inline]
    pub(super) unsafe fn fill<'a>(&self, sample: *mut Sample) -> Option<Value<'a>> {
        // SAFETY: HAProxy's own function, with an empty list of arguments, as its parser would give it.
        let got = unsafe { (self.process)(self.arguments, sample, self.keyword, self.private) };
        // SAFETY: it filled the sample, says the answer.
        if got == 0 { None } else { unsafe { value(sample) } }
    }
}

/// A parsed expression: `res.fhdr(server)`, `var(txn.user),lower`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Expression(NonNull<SampleExpr>);

// SAFETY: HAProxy evaluates one expression on all of its threads.
unsafe impl Send for Expression {}
// SAFETY: as above.
unsafe impl Sync for Expression {}

impl Expression {
    /// By HAProxy's parser, whose words the error is in. It is never freed. Only while HAProxy reads its configuration or checks it.
    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        let engine = engine().ok_or_else(|| "no native engine".to_owned())?;
        Self::parse_with(engine, text)
    }

    pub(super) fn parse_with(engine: &Engine, text: &str) -> Result<Self, String> {
        let word = CString::new(text).map_err(|error| error.to_string())?;
        let empty = CString::default();
        let mut words =
            [word.as_ptr().cast_mut(), empty.as_ptr().cast_mut(), empty.as_ptr().cast_mut(), ptr::null_mut()];
        let mut index = 0;
        let mut problem: *mut c_char = ptr::null_mut();
        // SAFETY: HAProxy reads the words, of which the second is empty, copies what it keeps, and makes a text in `problem`.
        let parsed = unsafe {
            let parse = engine.symbols.sample_parse_expr;
            let (file, none) = (c"haproxy-vitals".as_ptr(), ptr::null_mut());
            parse(words.as_mut_ptr(), &raw mut index, file, 0, &raw mut problem, none, ptr::null_mut())
        };
        // SAFETY: null, or a text from malloc that is ours.
        let problem = unsafe { taken(problem) };
        match NonNull::new(parsed) {
            Some(_) if index != 1 => Err(format!("trailing words in `{text}`")),
            Some(expression) => Ok(Self(expression)),
            None => Err(problem.unwrap_or_else(|| "unknown error".to_owned())),
        }
    }

    /// Its value.
    ///
    /// # Safety
    ///
    /// As for [`Fetch::call`].
    pub(super) unsafe fn call<'a>(self, engine: &Engine, owner: &Owner) -> Option<Value<'a>> {
        let mut room = MaybeUninit::uninit();
        let sample = owner.sample(&mut room);
        let Owner { px, sess, strm, opt } = *owner;
        // SAFETY: an expression of its parser's.
        let got = unsafe { (engine.symbols.sample_process)(px, sess, strm, opt, self.0.as_ptr(), sample) };
        // SAFETY: null, or the sample, filled.
        if got.is_null() { None } else { unsafe { value(got) } }
    }
}

/// What a value is of.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) px: *mut Proxy,
    pub(super) sess: *mut Session,
    pub(super) strm: *mut abi::Stream,
    pub(super) opt: u32,
}

impl Owner {
    /// A sample as HAProxy hands it to a fetch. The value is not written.
    pub(super) fn sample(&self, room: &mut MaybeUninit<Sample>) -> *mut Sample {
        let sample = room.as_mut_ptr();
        // SAFETY: within the room.
        unsafe {
            (&raw mut (*sample).flags).write(0);
            (&raw mut (*sample).kind).write(0);
            (&raw mut (*sample).ctx).write([0; 8]);
            (&raw mut (*sample).px).write(self.px);
            (&raw mut (*sample).sess).write(self.sess);
            (&raw mut (*sample).strm).write(self.strm);
            (&raw mut (*sample).opt).write(self.opt);
        }
        sample
    }
}

/// Makes a sample ready for another fetch. What fetches that go through several values keep is theirs: those that are called here
/// have one.
///
/// # Safety
///
/// It must have been filled before.
#[inline]
pub(super) unsafe fn empty(sample: *mut Sample) {
    // SAFETY: the caller's promise.
    unsafe {
        (&raw mut (*sample).flags).write(0);
        (&raw mut (*sample).kind).write(0);
    }
}

/// The name of a proxy: HAProxy's `fe_name` asks a session for its frontend and reads nothing else of it.
pub(super) fn proxy_name(engine: &Engine, proxy: *mut Proxy) -> Option<Box<str>> {
    if proxy.is_null() {
        return None;
    }
    // Larger than a session of any version.
    let mut session = [0usize; 64];
    *session.first_mut()? = proxy as usize;
    let sess = session.as_mut_ptr().cast::<Session>();
    let owner = Owner { px: proxy, sess, strm: ptr::null_mut(), opt: 0 };
    // SAFETY: the proxy is one of HAProxy's, which live as long as it does.
    let name = unsafe { Fetch::find(engine, "fe_name")?.call(&owner) };
    match name {
        Some(Value::Text(name)) => Some(String::from_utf8_lossy(name).into()),
        _ => None,
    }
}

/// What is in a sample.
///
/// # Safety
///
/// HAProxy must have filled it, and what it points to must be alive.
unsafe fn value<'a>(sample: *const Sample) -> Option<Value<'a>> {
    // SAFETY: the kind says which field was written; texts are checked.
    unsafe {
        let value = &raw const (*sample).value;
        match (*sample).kind {
            kind::BOOL => Some(Value::Bool((*value).sint != 0)),
            kind::SINT => Some(Value::Int((*value).sint)),
            kind::IPV4 => Some(Value::V4((*value).ipv4)),
            kind::IPV6 => Some(Value::V6((*value).ipv6)),
            kind::STR => bytes((*value).text).map(Value::Text),
            kind::BIN => bytes((*value).text).map(Value::Bin),
            kind::METH => method(value).map(Value::Text),
            _ => None,
        }
    }
}

/// # Safety
///
/// The value must be a method.
unsafe fn method<'a>(value: *const abi::SampleValue) -> Option<&'a [u8]> {
    // SAFETY: the number is always there, the text where the number is no known method's.
    unsafe {
        let number = (&raw const (*value).method.method).read();
        match METHODS.get(usize::from(number)) {
            Some(known) => Some(known),
            None => bytes((&raw const (*value).method.text).read()),
        }
    }
}

/// # Safety
///
/// A buffer of HAProxy's, alive.
unsafe fn bytes<'a>(text: Buffer) -> Option<&'a [u8]> {
    if text.data == 0 {
        return Some(&[]);
    }
    if text.area.is_null() || isize::try_from(text.data).is_err() {
        return None;
    }
    // SAFETY: HAProxy says that so many bytes are there.
    Some(unsafe { std::slice::from_raw_parts(text.area, text.data) })
}

/// A text that HAProxy made for us.
///
/// # Safety
///
/// Null, or from malloc and ours.
unsafe fn taken(text: *mut c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: ends in zero; freed once.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        Some(copy)
    }
}
