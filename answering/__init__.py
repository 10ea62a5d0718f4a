"""What kinds of trained models answer phrases: role -> class, loaded when asked for."""

ROLES = {
    "teacher": "answering.teacher:TeacherAnswers",
    "map_teacher": "answering.map_teacher:MapTeacherAnswers",
    "student": "answering.student:StudentAnswers",
}
