// TCP echo client on std::net: HOST PORT COUNT SIZE (127.0.0.1 8080 1 32).
// Sends SIZE bytes COUNT times over one connection and compares what comes back.
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize, default: &str| arguments.get(index).cloned().unwrap_or(default.to_string());
    let (host, port) = (argument(1, "127.0.0.1"), argument(2, "8080").parse::<u16>()?);
    let (count, size) = (argument(3, "1").parse::<usize>()?, argument(4, "32").parse::<usize>()?);

    let mut connection = TcpStream::connect((host.as_str(), port))?;
    connection.set_nodelay(true)?;
    if connection.local_addr()?.port() == 0 {
        return Err("the local port is 0 after connect".into());
    }
    let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    let mut answer = vec![0; size];
    for _ in 0..count {
        connection.write_all(&payload)?;
        connection.read_exact(&mut answer)?;
        if answer != payload {
            return Err("the answer differs".into());
        }
    }
    println!("echoed {} bytes in {} round trips", count * size, count);
    Ok(())
}
