//! Looks at HTML pages in headless Chromium.

use std::io::Read;
use std::path::Path;
use std::process::Command;

/// Opens a page, and returns what Chromium prints.
pub(crate) fn chromium(page: &Path, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--disable-background-networking", "--no-first-run"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium; run scripts/test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The page needs no network, renders, and fits into the window, on a phone too. It has a dark and a light side.
#[track_caller]
pub(crate) fn assert_drawn(page: &Path) {
    let text = std::fs::read_to_string(page).unwrap();
    let needs_network = ["http:", "https:", "src="].iter().any(|it| text.contains(it));
    assert!(!needs_network, "needs no network");
    for (name, width) in [("wide", 1100), ("phone", 390)] {
        let image = page.with_file_name(format!("{name}.png"));
        let shot = format!("--screenshot={}", image.display());
        chromium(page, &[&shot, &format!("--window-size={width},1000"), "--hide-scrollbars"]);
        let mut header = [0; 24];
        std::fs::File::open(&image).unwrap().read_exact(&mut header).unwrap();
        assert_eq!(&header[1..4], b"PNG");
        let drawn = std::fs::metadata(&image).unwrap().len();
        assert!(drawn > 10_000, "{name}: {drawn} bytes are an empty page");
    }
    let grounds = [("light", 1), ("dark", 0)].map(|(name, scheme)| {
        let drawn = [1100, 390].map(|width| measured(page, &text, width, scheme));
        for drawn in &drawn {
            assert_eq!(drawn[0], "0", "{name}: the page is this much wider than its window");
        }
        drawn[0][1].clone()
    });
    assert_ne!(grounds[0], grounds[1], "dark differs from light");
}

/// How far the page exceeds a window of that width, and its background color. The page itself cannot run
/// scripts, so a copy that can is measured.
fn measured(page: &Path, text: &str, width: u32, scheme: u32) -> [String; 2] {
    let policy = text.find("<meta http-equiv").unwrap();
    let end = policy + text[policy..].find('>').unwrap() + 1;
    let ask = "<script>let it = document.documentElement; parent.postMessage(it.scrollWidth - it.clientWidth + ' ' + \
               getComputedStyle(document.body).backgroundColor.replaceAll(' ', ''), '*')</script></body>";
    let copy = [&text[..policy], &text[end..]].concat().replace("</body>", ask);
    std::fs::write(page.with_file_name("copy.html"), copy).unwrap();
    let frame = page.with_file_name("frame.html");
    let content = format!(
        "<body><script>onmessage = it => document.body.append('seen ' + it.data)</script>\
         <iframe src='copy.html' style='border: 0; width: {width}px; height: 1000px'></iframe></body>"
    );
    std::fs::write(&frame, content).unwrap();
    let settings = format!("--blink-settings=preferredColorScheme={scheme}");
    let dom =
        chromium(&frame, &["--virtual-time-budget=3000", &settings, "--window-size=1300,1100", "--dump-dom"]);
    let seen =
        dom.rsplit("seen ").next().filter(|it| !it.contains("script")).unwrap_or_else(|| panic!("{dom}"));
    let mut words = seen.split(['<', ' ']).map(str::to_string);
    [words.next().unwrap(), words.next().unwrap()]
}
