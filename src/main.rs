use caseworker::domain::workflow::{read::*, source::Format};
fn main() {
    for f in std::env::args().skip(1) {
        let t = std::fs::read_to_string(&f).unwrap();
        match compile(&t, Format::Yaml, &Surroundings::unknown()) {
            Ok(c) => {
                println!("OK   {f} {:?}", c.warnings.iter().map(|w| &w.detail).collect::<Vec<_>>())
            }
            Err(e) => {
                for x in e {
                    println!(
                        "{}  {f}:{}:{} {} | {}",
                        if x.detail.contains("not supported yet") { "NS" } else { "BAD" },
                        x.line,
                        x.column,
                        x.detail,
                        x.fix
                    );
                }
            }
        }
    }
}
