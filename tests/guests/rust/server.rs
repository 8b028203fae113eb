// TCP server on std::net: PORT CONNECTIONS (8080 1). Answers in upper case on 127.0.0.1, one connection after
// the other; port 0 takes a free one. Ends after CONNECTIONS of them.
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize, default: &str| arguments.get(index).cloned().unwrap_or(default.to_string());
    let (port, connections) = (argument(1, "8080").parse::<u16>()?, argument(2, "1").parse::<usize>()?);

    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let address = listener.local_addr()?;
    println!("listening on {} {}", address.ip(), address.port());
    let mut buffer = [0; 4096];
    for _ in 0..connections {
        let (mut connection, _) = listener.accept()?;
        loop {
            let received = connection.read(&mut buffer)?;
            if received == 0 {
                break;
            }
            buffer[..received].make_ascii_uppercase();
            connection.write_all(&buffer[..received])?;
        }
    }
    println!("served {}", connections);
    Ok(())
}
