/// Pages that servers ship with.
enum Pages {
    /// nginx's index.html: 615 bytes.
    static let nginxWelcome = """
        <!DOCTYPE html>
        <html>
        <head>
        <title>Welcome to nginx!</title>
        <style>
        html { color-scheme: light dark; }
        body { width: 35em; margin: 0 auto;
        font-family: Tahoma, Verdana, Arial, sans-serif; }
        </style>
        </head>
        <body>
        <h1>Welcome to nginx!</h1>
        <p>If you see this page, the nginx web server is successfully installed and
        working. Further configuration is required.</p>

        <p>For online documentation and support please refer to
        <a href="http://nginx.org/">nginx.org</a>.<br/>
        Commercial support is available at
        <a href="http://nginx.com/">nginx.com</a>.</p>

        <p><em>Thank you for using nginx.</em></p>
        </body>
        </html>

        """
    static let apacheWelcome = "<html><body><h1>It works!</h1></body></html>\n"

    static func type(of path: String) -> String {
        let known: [(String, String)] = [
            (".html", "text/html"), (".htm", "text/html"), (".css", "text/css"), (".js", "application/javascript"), (".json", "application/json"), (".txt", "text/plain"),
            (".xml", "text/xml"), (".svg", "image/svg+xml"), (".png", "image/png"),
        ]
        return known.first { path.hasSuffix($0.0) }?.1 ?? "application/octet-stream"
    }
}
