//! Who listens on a port, as far as this system tells: for the text of one error.

/// The program that listens on the port, as "`name` (process 123)".
#[cfg(target_os = "linux")]
pub(super) fn of_port(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .filter_map(|line| listening(line, port))
                .collect::<Vec<_>>()
        })
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    // Only processes of the same user can be looked into; that is the usual case.
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let id = process.file_name();
        if !id.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|target| {
                inodes
                    .iter()
                    .any(|inode| target.as_os_str() == inode.as_str())
            })
        });
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("`{}` (process {})", name.trim(), id.display()));
        }
    }
    None
}

/// The program that listens on the port: other systems do not tell in one way.
#[cfg(not(target_os = "linux"))]
pub(super) fn of_port(_port: u16) -> Option<String> {
    None
}

/// The inode of the socket if the line of `/proc/net/tcp` is a listener on the port.
#[cfg(target_os = "linux")]
fn listening(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let here = u16::from_str_radix(hex, 16).ok()? == port && *fields.get(3)? == LISTEN;
    here.then(|| fields.get(9).map(|inode| (*inode).to_owned()))
        .flatten()
}
