//! Room on the disk.

/// Bytes free on a folder's disk for us.
///
/// # Errors
/// When the system does not say.
pub fn free_bytes(folder: &std::path::Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
