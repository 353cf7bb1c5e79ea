//! HAProxy's functions and variables, looked up by name, and its version.
#![expect(unsafe_code, reason = "the dynamic linker's answers become typed pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};

use nix::libc;

use super::abi::{
    ActionKwList, Arg, FilterKw, FilterKwList, HeaderContext, Ist, List, ParseSection, PostSection, Proxy, Sample,
    SampleConvList, SampleExpr, SampleFetch, Session, Stream,
};
use super::{Unavailable, faults};

macro_rules! symbols {
    ($($name:ident: $type:ty,)*) => {
        /// All of them, or none.
        pub(super) struct Symbols {
            $(pub(super) $name: $type,)*
            /// What the filter for compression is called.
            pub(super) compression: *const *const c_char,
        }

        impl Symbols {
            /// Looks all of them up.
            #[expect(clippy::transmute_ptr_to_ptr, reason = "functions and variables alike")]
            pub(super) fn find() -> Result<Self, Unavailable> {
                Ok(Self {
                    // SAFETY: a pointer to what HAProxy declares by this name, with this type in all known versions.
                    $($name: unsafe {
                        std::mem::transmute::<*mut c_void, $type>(address(stringify!($name), concat!(stringify!($name), "\0"))?)
                    },)*
                    compression: compression()?.cast_const().cast(),
                })
            }
        }
    };
}

symbols! {
    flt_register_keywords: unsafe extern "C" fn(*mut FilterKwList),
    flt_find_kw: unsafe extern "C" fn(*const c_char) -> *mut FilterKw,
    http_req_keywords_register: unsafe extern "C" fn(*mut ActionKwList),
    http_res_keywords_register: unsafe extern "C" fn(*mut ActionKwList),
    http_after_res_keywords_register: unsafe extern "C" fn(*mut ActionKwList),
    tcp_req_cont_keywords_register: unsafe extern "C" fn(*mut ActionKwList),
    tcp_res_cont_keywords_register: unsafe extern "C" fn(*mut ActionKwList),
    find_sample_fetch: unsafe extern "C" fn(*const c_char, c_int) -> *mut SampleFetch,
    sample_parse_expr: unsafe extern "C" fn(
        *mut *mut c_char, *mut c_int, *const c_char, c_int, *mut *mut c_char, *mut c_void, *mut *mut c_char,
    ) -> *mut SampleExpr,
    sample_process: unsafe extern "C" fn(
        *mut Proxy, *mut Session, *mut Stream, u32, *mut SampleExpr, *mut Sample,
    ) -> *mut Sample,
    sample_register_convs: unsafe extern "C" fn(*mut SampleConvList),
    empty_arg_list: *const Arg,
    htx_empty: *const [u32; 10],
    http_find_header: unsafe extern "C" fn(*mut u8, Ist, *mut HeaderContext, c_int) -> c_int,
    http_add_header: unsafe extern "C" fn(*mut u8, Ist, Ist, c_int) -> c_int,
    http_remove_header: unsafe extern "C" fn(*mut u8, *mut HeaderContext) -> c_int,
    http_replace_header_value: unsafe extern "C" fn(*mut u8, *mut HeaderContext, Ist, c_int) -> c_int,
    vars_set_by_name: unsafe extern "C" fn(*const c_char, usize, *mut Sample) -> c_int,
    cfg_register_section: unsafe extern "C" fn(*const c_char, Option<ParseSection>, Option<PostSection>) -> c_int,
    sections: *mut List,
    curproxy: *mut *mut Proxy,
    cfg_parse_listen: ParseSection,
    check_implicit_http_comp_flt: unsafe extern "C" fn(*mut Proxy) -> c_int,
    cache_store_flt_id: *const *const c_char,
    proxy_find_by_name: unsafe extern "C" fn(*const c_char, c_int, c_int) -> *mut Proxy,
    ha_alert: unsafe extern "C" fn(*const c_char, ...),
    hap_register_pre_check: unsafe extern "C" fn(Option<PostSection>),
    hap_register_per_thread_deinit: unsafe extern "C" fn(Option<unsafe extern "C" fn()>),
    memprintf: unsafe extern "C" fn(*mut *mut c_char, *const c_char, ...) -> *mut c_char,
}

impl Symbols {
    /// Where an HTX message has the positions of its blocks: an empty one has -1 for the newest, the oldest and the first.
    pub(super) fn htx_positions(&self) -> Option<usize> {
        // SAFETY: HAProxy's empty message, which it never changes, and no version's is shorter.
        let empty = unsafe { self.htx_empty.read() };
        let at = empty.iter().position(|number| *number == u32::MAX)?;
        let none: Vec<usize> = (0..empty.len()).filter(|n| empty.get(*n) == Some(&u32::MAX)).collect();
        (none == [at, at + 1, at + 2]).then_some(at * size_of::<u32>())
    }
}

// SAFETY: addresses of functions and of variables that HAProxy never moves; each use says who may touch what is there.
unsafe impl Send for Symbols {}
// SAFETY: as above.
unsafe impl Sync for Symbols {}

/// One for both directions until 3.3; since 3.4 each has its own.
fn compression() -> Result<*mut c_void, Unavailable> {
    address("http_comp_flt_id", "http_comp_flt_id\0")
        .or_else(|_| address("http_comp_res_flt_id", "http_comp_res_flt_id\0"))
}

/// What HAProxy calls itself: `3.2.26-1`.
pub(super) fn version() -> Result<String, Unavailable> {
    if let Some(pretended) = faults::version() {
        return Ok(pretended);
    }
    let text = address("haproxy_version", "haproxy_version\0")?;
    // SAFETY: `char haproxy_version[]`, which HAProxy never changes.
    Ok(unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_string_lossy().into_owned())
}

/// How HAProxy runs: `global.mode`, where 3.0 has it.
pub(super) fn mode() -> Option<c_int> {
    let global = address("global", "global\0").ok()?;
    // SAFETY: the fifth of five `int`s that `struct global` begins with in 3.0; larger in all versions.
    Some(unsafe { global.cast::<c_int>().add(4).read() })
}

/// Its first two numbers. Only of releases: a branch in development may still move its structures.
pub(super) fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.splitn(3, '.');
    let (major, minor, rest) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let patch = rest.split_once(|other: char| !other.is_ascii_digit()).map_or(rest, |(patch, _)| patch);
    let released = !patch.is_empty() && !rest.contains("dev");
    released.then_some((major, minor))
}

/// Keeps the module in the process for as long as that lives: HAProxy keeps pointers to its functions, and Lua unloads modules when it
/// closes its states, which HAProxy does before it lets go of its filters.
pub(super) fn keep_loaded() -> bool {
    let mut about = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the linker fills it for an address of this module, and loads nothing that is not loaded.
    unsafe {
        let here = keep_loaded as *const c_void;
        if libc::dladdr(here, about.as_mut_ptr()) == 0 {
            return false;
        }
        let file = about.assume_init().dli_fname;
        !file.is_null() && !libc::dlopen(file, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE).is_null()
    }
}

fn address(name: &'static str, terminated: &'static str) -> Result<*mut c_void, Unavailable> {
    let missing = Unavailable::Symbol(name);
    if faults::lacks(name) {
        return Err(missing);
    }
    let found = CStr::from_bytes_with_nul(terminated.as_bytes()).ok().map_or(std::ptr::null_mut(), |name| {
        // SAFETY: a name that ends in zero; the linker only reads it.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
    });
    if found.is_null() { Err(missing) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn releases_have_three_numbers() {
        assert_eq!(release("3.2.26-1"), Some((3, 2)));
        assert_eq!(release("3.4.0"), Some((3, 4)));
        for other in ["3.5-dev5-abcdef-12", "3.4.0-dev", "3.4", "", "2.8r1-1.0.0", "3.x.1"] {
            assert_eq!(release(other), None, "{other}");
        }
    }
}
