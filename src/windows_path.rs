//! Canonical paths of Windows in, the same in the form that other programs take out: `\\?\C:\models` → `C:\models`. ONNX
//! Runtime joins names to a folder as it likes, and behind `\\?\` only exact names with backslashes work. Kept as they
//! are: paths that mean something else, or nothing, without the prefix.

use std::path::{Path, PathBuf};

/// The longest path that every program takes, its closing zero included.
const LONGEST: usize = 260;
/// Devices, with or without an extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// What `fs::canonicalize` gave, in the usual form where there is one. Paths of other systems stay as they are.
pub fn usual_form(path: PathBuf) -> PathBuf {
    match cfg!(windows).then(|| path.to_str().and_then(without_prefix)).flatten() {
        Some(usual) => PathBuf::from(usual),
        None => path,
    }
}

/// The path without `\\?\`, where that names the same file.
fn without_prefix(path: &str) -> Option<String> {
    let rest = path.strip_prefix(r"\\?\")?;
    let (start, names) = match rest.strip_prefix(r"UNC\") {
        Some(share) => (!share.is_empty()).then_some((r"\\", share))?,
        None => {
            let (drive, names) = rest.split_once('\\')?;
            let letter = drive.strip_suffix(':')?;
            let is_letter = letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_alphabetic());
            (is_letter.then_some(&rest[..3])?, names)
        }
    };
    let usual = format!("{start}{names}");
    let fits = usual.encode_utf16().count() < LONGEST;
    (fits && (names.is_empty() || names.split('\\').all(is_usual_name))).then_some(usual)
}

/// Whether a name is read as it is written: no device, nothing that is cut off or replaced.
fn is_usual_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_lowercase();
    let numbered = |kind| stem.strip_prefix(kind).is_some_and(|number: &str| number.chars().count() == 1);
    let is_device = DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt");
    let odd = |character: char| character.is_control() || r#"<>:"/|?*"#.contains(character);
    !(name.is_empty() || name.ends_with(['.', ' ']) || is_device || name.contains(odd))
}

/// A path's names joined as this system joins them; nothing where one is not Unicode.
pub fn joined(path: &Path) -> Option<String> {
    let names: Option<Vec<&str>> = path.iter().map(|name| name.to_str()).collect();
    Some(names?.join(std::path::MAIN_SEPARATOR_STR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_goes_where_it_says_nothing() {
        for (path, usual) in [
            (r"\\?\C:\models\bert", r"C:\models\bert"),
            (r"\\?\c:\", r"c:\"),
            (r"\\?\C:\models\größe 1\model.safetensors", r"C:\models\größe 1\model.safetensors"),
            (r"\\?\UNC\server\share\model", r"\\server\share\model"),
            (r"\\?\C:\console\company.txt", r"C:\console\company.txt"),
        ] {
            assert_eq!(without_prefix(path).as_deref(), Some(usual), "{path}");
        }
    }

    #[test]
    fn the_prefix_stays_where_it_is_needed() {
        let long = format!(r"\\?\C:\{}", [&"a".repeat(100); 3].map(String::as_str).join("\\"));
        for path in [
            long.as_str(),
            r"C:\models",
            "/models",
            r"\\?\Volume{26a21bda}\models",
            r"\\?\GLOBALROOT\Device",
            r"\\?\C:\models\NUL",
            r"\\?\C:\com1.txt\model",
            r"\\?\C:\ends with a space \model",
            r"\\?\C:\ends with a dot.\model",
            r"\\?\C:\a\\b",
            r"\\?\C:\a/b",
            r"\\?\C:\a:stream",
            r"\\?\UNC\",
            r"\\?\CC:\models",
        ] {
            assert_eq!(without_prefix(path), None, "{path}");
        }
    }

    #[test]
    fn names_are_joined_as_the_system_does() {
        let path: PathBuf = ["blobs", "model.safetensors"].iter().collect();
        assert_eq!(joined(&path), Some(format!("blobs{}model.safetensors", std::path::MAIN_SEPARATOR)));
        assert_eq!(usual_form(PathBuf::from("/models")), PathBuf::from("/models"));
    }
}
