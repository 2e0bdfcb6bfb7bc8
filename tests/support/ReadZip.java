import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Prints "sha256 name" for each file of an archive, read by its local headers or by its central directory. */
public class ReadZip {
    public static void main(String[] arguments) throws Exception {
        try (PrintStream out = new PrintStream(new BufferedOutputStream(System.out), false, StandardCharsets.UTF_8)) {
            if (arguments[0].equals("stream")) {
                try (InputStream file = new BufferedInputStream(Files.newInputStream(Path.of(arguments[1])), 1 << 20);
                        ZipInputStream zip = new ZipInputStream(file)) {
                    for (ZipEntry entry; (entry = zip.getNextEntry()) != null; ) {
                        print(out, entry, zip);
                    }
                }
            } else {
                try (ZipFile zip = new ZipFile(arguments[1])) {
                    Enumeration<? extends ZipEntry> entries = zip.entries();
                    while (entries.hasMoreElements()) {
                        ZipEntry entry = entries.nextElement();
                        try (InputStream body = zip.getInputStream(entry)) {
                            print(out, entry, body);
                        }
                    }
                }
            }
        }
    }

    private static void print(PrintStream out, ZipEntry entry, InputStream body) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        byte[] buffer = new byte[1 << 16];
        for (int read; (read = body.read(buffer)) > 0; ) {
            digest.update(buffer, 0, read);
        }
        if (!entry.isDirectory()) {
            out.print(HexFormat.of().formatHex(digest.digest()) + " " + entry.getName() + "\n");
        }
    }
}
