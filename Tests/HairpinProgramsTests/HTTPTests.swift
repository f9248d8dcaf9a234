import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@testable import HairpinPrograms

struct HTTPTests {
    private func kernelWithNginx(_ change: (inout Nginx.Configuration) -> Void = { _ in }) -> TestKernel {
        let kernel = TestKernel()
        var configuration = Nginx.Configuration()
        change(&configuration)
        kernel.start(Nginx(configuration), ["nginx"])
        return kernel
    }

    @Test("the welcome page: one write for the request, 238 bytes of header and 615 of body apart, then both ends close")
    func exchange() {
        let kernel = kernelWithNginx()
        #expect(kernel.shell("curl -sS --max-time 10 -o /dev/null -w '%{http_code} %{size_download} bytes\\n' http://10.244.0.3/") == 0)
        #expect(kernel.output.hasSuffix("200 615 bytes\n"))
        #expect(
            kernel.wire == [
                "10.244.0.2:40002 > 10.244.0.3:80 74", "10.244.0.3:80 > 10.244.0.2:40002 238", "10.244.0.3:80 > 10.244.0.2:40002 615",
                "10.244.0.2:40002 > 10.244.0.3:80 FIN",
            ])
    }

    @Test("a range: 93 bytes of request, 259 of header, 15 of body")
    func range() {
        let kernel = kernelWithNginx { $0.servePage(by: "pod3", byteCount: 615) }
        #expect(kernel.shell("curl -sS --max-time 10 -r 0-14 http://10.96.0.20/") == 0)
        #expect(kernel.output.hasSuffix("served by pod3\n"))
        #expect(kernel.wire.prefix(3).map { $0.split(separator: " ").last } == ["93", "259", "15"])
    }

    @Test("a page larger than the window is written as room appears")
    func partialWrites() {
        let kernel = kernelWithNginx { $0.servePage(by: "pod2", byteCount: 1_000_000) }
        kernel.window = 65536
        #expect(kernel.shell("curl -sS -o /tmp/page http://10.244.0.3/") == 0)
        #expect(kernel.files["/tmp/page"]?.count == 1_000_000)
    }

    @Test(
        "errors of curl",
        arguments: [
            ("curl -sS http://10.244.0.3:81/", 7, "curl: (7) Failed to connect to 10.244.0.3 port 81 after 0 ms: Couldn't connect to server\n"),
            ("curl -sS --max-time 2.5 http://10.0.0.9/", 28, "curl: (28) Connection timed out after 2501 milliseconds\n"),
            ("curl -sS --connect-timeout 1 http://10.0.0.9/", 28, "curl: (28) Failed to connect to 10.0.0.9 port 80 after 1000 ms: Timeout was reached\n"),
            ("curl -sS 'http://a b/'", 3, "curl: (3) URL using bad/illegal format or missing URL\n"),
            ("curl -sSf http://10.244.0.3/missing", 22, "curl: (22) The requested URL returned error: 404\n"),
            (
                "curl -sS -o /nope/x http://10.244.0.3/", 23,
                "Warning: Failed to open the file /nope/x: No such file or directory\ncurl: (23) Failure writing output to destination\n"
            ),
            ("curl -sS https://10.244.0.3:80/", 35, "curl: (35) OpenSSL/3.0.19: error:0A00010B:SSL routines::wrong version number\n"),
            ("curl --foo", 2, "curl: option --foo: is unknown\ncurl: try 'curl --help' or 'curl --manual' for more information\n"),
            ("curl -sS http://x.invalid/", 6, "curl: (6) Could not resolve host: x.invalid\n"),
        ] as [(String, Int32, String)])
    func curlErrors(_ command: String, _ status: Int32, _ message: String) {
        let kernel = kernelWithNginx { $0.logsAccess = false }
        kernel.silent = [IPv4Address(10, 0, 0, 9)]
        kernel.start(DNSServer(Dnsmasq(records: [:])), ["dnsmasq"])
        kernel.errorOutput = ""
        let result = kernel.shell(command)
        let shown = kernel.errorOutput.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.contains("[notice]") }.joined(separator: "\n")
        #expect(shown == message)
        #expect(result == status)
    }

    @Test("a server that closes without a word, and one that stops in the middle")
    func brokenServers() {
        let kernel = TestKernel()
        #expect(kernel.shell("tcp_peer listen 81 recv:10 close > /dev/null & sleep 0.1; curl -sS http://10.0.0.1:81/") == 52)
        #expect(kernel.errorOutput == "curl: (52) Empty reply from server\n")
        let second = TestKernel()
        #expect(
            second.shell("printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nabc' | nc -l -p 82 -N > /dev/null & sleep 0.1; curl -sS http://10.0.0.1:82/") == 18)
        #expect(second.output == "abc")
        #expect(second.errorOutput == "curl: (18) transfer closed with 6 bytes remaining to read\n")
    }

    @Test("a Content-Length that is no length counts as absent", arguments: ["-1", "99999999999999999999", "x"])
    func impossibleLength(length: String) {
        let kernel = TestKernel()
        #expect(kernel.shell("printf 'HTTP/1.1 200 OK\\r\\nContent-Length: \(length)\\r\\n\\r\\nabc' | nc -l -p 82 -N > /dev/null & sleep 0.1; curl -sS http://10.0.0.1:82/") == 0)
        #expect(kernel.output == "abc")
    }

    @Test("curl -v tells the story; two URLs use one connection")
    func verbose() {
        let kernel = kernelWithNginx { $0.logsAccess = false }
        #expect(kernel.shell("curl -sv -o /dev/null -o /dev/null -w '%{num_connects} ' http://10.244.0.3/ http://10.244.0.3/x") == 0)
        #expect(kernel.output == "1 0 ")
        #expect(
            kernel.errorOutput.contains("*   Trying 10.244.0.3:80...\n* Connected to 10.244.0.3 (10.244.0.3) port 80 (#0)\n> GET / HTTP/1.1\r\n> Host: 10.244.0.3\r\n"))
        #expect(kernel.errorOutput.contains("* Re-using existing connection #0 with host 10.244.0.3\n"))
        #expect(kernel.errorOutput.contains("< HTTP/1.1 404 Not Found\r\n"))
    }

    @Test("the access log goes to the volume, or to the container's output")
    func accessLog() {
        let kernel = kernelWithNginx()
        kernel.mounts = ["/var/log/nginx"]
        kernel.shell("curl -s http://10.244.0.3/ > /dev/null; sleep 0.1")
        let log = HairpinPrograms.text(kernel.files["/var/log/nginx/access.log"] ?? [])
        #expect(log == "10.244.0.2 - - [01/Jan/2024:00:00:00 +0000] \"GET / HTTP/1.1\" 200 615 \"-\" \"curl/7.88.1\" \"-\"\n")
        #expect(kernel.output == "")
    }

    @Test("two servers on one port collide")
    func collision() {
        let kernel = kernelWithNginx()
        #expect(kernel.shell("nginx -g 'daemon off;'") == 1)
        let lines = kernel.errorOutput.split(separator: "\n").filter { $0.contains("emerg") }
        #expect(
            lines == Array(repeating: "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", count: 5) + ["nginx: [emerg] still could not bind()"])
    }

    @Test("an idle connection is closed after 65 seconds")
    func keepAlive() {
        let kernel = kernelWithNginx()
        kernel.shell("nc -d 10.244.0.3 80")
        #expect(kernel.now >= .zero + .seconds(65) && kernel.now < .zero + .seconds(66))
    }

    @Test("wget talks as GNU does")
    func wget() {
        let kernel = kernelWithNginx { $0.logsAccess = false }
        #expect(kernel.shell("wget -q -O - http://10.244.0.3/ | head -n 1; wget -q http://10.244.0.3/none; echo $?; wget --spider http://10.244.0.3:81/") == 4)
        #expect(kernel.output == "<!DOCTYPE html>\n8\n")
        #expect(kernel.errorOutput.contains("Connecting to 10.244.0.3:81... failed: Connection refused.\n"))
    }

    @Test("agnhost, http-echo and an unknown image answer")
    func otherServers() {
        let kernel = TestKernel()
        for (image, arguments, port) in [("registry.k8s.io/e2e-test-images/agnhost:2.47", ["netexec"], 8080), ("hashicorp/http-echo", ["-text=hi", "-listen=:90"], 90)]
            as [(String, [String], UInt16)]
        {
            let entry = ImageCatalogue.entryPoint(image: image, command: nil, args: arguments, declaredPorts: [(port, .tcp)], environment: [:])
            #expect(entry.note == nil)
            kernel.start(entry.makeProgram(), entry.arguments)
        }
        let unknown = ImageCatalogue.entryPoint(image: "example.com/shop/frontend:v3", command: nil, args: nil, declaredPorts: [(7000, .tcp)], environment: [:])
        #expect(unknown.note == "image example.com/shop/frontend:v3 is not known: a server listening on its declared ports (7000/tcp) stands in")
        kernel.start(unknown.makeProgram(), unknown.arguments)
        #expect(
            kernel.shell(
                "curl -s 10.0.0.1:8080/hostname; echo; curl -s 10.0.0.1:90 > /tmp/e; cat /tmp/e; curl -s 10.0.0.1:7000/a | grep -c 'pod1, standing in'; redis-server & sleep 0.1; redis-cli incr x; kill $!"
            ) == 0)
        let kept = kernel.output.split(separator: "\n").filter {
            !$0.contains("127.0.0.1") && !$0.contains("10.244.0.2:") && !$0.contains("INFO") && !$0.hasPrefix("* Ready")
        }
        #expect(kept == ["pod1", "hi", "1", "(integer) 1"])
    }
}
