//! Connections that `std` cannot make: with little room in the kernels, and from a given address.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Result, bail, ensure};

/// Connects to an IPv4 address so that kernels hold little of what is not read: what the server's holds follows from the
/// size of segments, which is 64 KiB on a loopback interface unless the client asks for less.
pub(crate) fn connect_narrow(address: SocketAddr) -> Result<TcpStream> {
    const SEGMENT_BYTES: libc::c_int = 536;
    const RECEIVE_BYTES: libc::c_int = 4_096;
    let socket = Socket::new()?;
    socket.set(libc::IPPROTO_TCP, libc::TCP_MAXSEG, SEGMENT_BYTES)?;
    socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BYTES)?;
    socket.connect(address)
}

/// Connects to an IPv4 address from `source`, which may be any of the loopback interface.
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new()?;
    socket.bind(source)?;
    socket.connect(address)
}

/// A socket that is not connected yet.
struct Socket(OwnedFd);

impl Socket {
    fn new() -> Result<Self> {
        #[expect(unsafe_code, reason = "std makes sockets that are connected already")]
        // SAFETY: the descriptor is new and owned at once.
        let owned = unsafe {
            let raw = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            ensure!(raw >= 0, "{}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(raw)
        };
        Ok(Self(owned))
    }

    fn set(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<()> {
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
        #[expect(unsafe_code, reason = "options that must be set before the connection is made")]
        // SAFETY: the value lives until the call returns and has the length told.
        let result =
            unsafe { libc::setsockopt(self.0.as_raw_fd(), level, name, (&raw const value).cast(), length) };
        check(result)
    }

    fn bind(&self, address: Ipv4Addr) -> Result<()> {
        let (here, length) = kernel_address(SocketAddrV4::new(address, 0))?;
        #[expect(unsafe_code, reason = "std connects from any address")]
        // SAFETY: the address lives until the call returns and has the length told.
        let result = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const here).cast(), length) };
        check(result)
    }

    fn connect(self, address: SocketAddr) -> Result<TcpStream> {
        let SocketAddr::V4(address) = address else { bail!("{address} is none of IPv4") };
        let (there, length) = kernel_address(address)?;
        #[expect(unsafe_code, reason = "std connects only sockets of its own")]
        // SAFETY: the address lives until the call returns and has the length told.
        let result = unsafe { libc::connect(self.0.as_raw_fd(), (&raw const there).cast(), length) };
        check(result)?;
        Ok(TcpStream::from(self.0))
    }
}

fn kernel_address(address: SocketAddrV4) -> Result<(libc::sockaddr_in, libc::socklen_t)> {
    let kernel = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    Ok((kernel, libc::socklen_t::try_from(size_of::<libc::sockaddr_in>())?))
}

fn check(result: libc::c_int) -> Result<()> {
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}
