use super::*;

#[test]
fn the_verifier_takes_every_program() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP the_verifier_takes_every_program: needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let options = DatapathOptions {
        line: crate::datapath::LineUse::Never,
        attach: Attach::Auto,
        xdp: XdpUse::Auto,
        max_faults: 1024,
        log: true,
    };
    let start = std::time::Instant::now();
    let datapath = Datapath::open(&options, journal).unwrap();
    println!("open: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    datapath.object.loader.waits().unwrap();
    datapath.object.loader.resume(7).unwrap();
    println!("kernel line: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    datapath.object.loader.xdp(7).unwrap();
    println!("xdp: {:?}", start.elapsed());
}
