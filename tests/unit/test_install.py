"""What pip's configuration says is handed on to uv."""

from devtools.install import uv_settings


def test_indexes_folders_and_certificates_are_handed_on() -> None:
    settings = uv_settings(
        """
:env:.cert='/etc/ssl/ca.crt'
global.index-url='https://mirror.example/simple'
global.extra-index-url='file:///one/simple file:///two/simple'
global.find-links='/wheels /more'
global.timeout='60'
"""
    )

    assert settings == {
        "SSL_CERT_FILE": "/etc/ssl/ca.crt",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "file:///one/simple file:///two/simple",
        "UV_FIND_LINKS": "/wheels,/more",
    }


def test_a_machine_without_configuration_changes_nothing() -> None:
    assert uv_settings("") == {}
